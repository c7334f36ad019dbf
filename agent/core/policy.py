"""Policies: what a maker or fleet asks of a device, read strictly and layered so that they can only tighten."""

from .catalogue import read_fields, read_purposes, shaped, slug
from .errors import BadPolicy, ExpiredPolicy, OldPolicy, UnknownSetting, WrongDevice
from .record import Record
from .setting import plain
from .telemetry import Recipient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .record import Value
    from .setting import Setting
    from .telemetry import Purpose, TelemetryField

MAX_BYTES = 256 * 1024
TOP = {
    "v": int, "fleet": str, "class": str, "device": str, "sequence": int, "issued": int, "expires": int,
    "baseline": dict, "reasons": dict, "purposes": list, "fields": list, "recipients": list,
    "credentials": list, "channels": list, "broker": dict, "queue": dict,
}  # fmt: skip
BROKER = {"host": str, "port": int}
MOST_OTHERS = 7  # brokers beside the first
RECOVERY = {"console": bool, "id": str, "key": bytes}


class Identity(Record):
    """Who this device is, for the purpose of accepting policies: fleet, class (model), device id."""

    __slots__ = ("device", "fleet", "model")
    fleet: str
    model: str
    device: str


class Policy(Record):
    """A compiled device profile: baseline per setting, telemetry declarations, credentials, channels, broker."""

    __slots__ = (
        "baseline", "broker", "channels", "credentials", "device", "expires", "fields", "fleet",
        "issued", "model", "purposes", "queue_bytes", "reasons", "recipients", "recovery", "sequence",
    )  # fmt: skip
    fleet: str
    model: str
    device: str
    sequence: int
    issued: int
    expires: int
    baseline: "dict[str, Value]"
    reasons: "dict[str, str]"
    purposes: "tuple[Purpose, ...]"
    fields: "tuple[TelemetryField, ...]"
    recipients: "tuple[Recipient, ...]"
    credentials: "tuple[dict[str, Any], ...]"
    channels: "tuple[str, ...]"
    broker: "dict[str, Any]"
    queue_bytes: int
    recovery: "dict[str, Any]"


def read_baseline(table: "dict[str, Any]", settings: "dict[str, Setting]") -> "dict[str, Value]":
    """Read and check the wanted value of every setting."""
    baseline, reasons = {}, table["reasons"]
    for name in table["baseline"]:
        if name not in settings:
            raise UnknownSetting(
                "the policy names %r, which this version of Privet does not know; update Privet" % (name,)
            )
        setting, value = settings[name], plain(table["baseline"][name])
        lattice = setting.lattice()
        if not lattice.member(value):
            raise BadPolicy("the policy wants %s = %r, which this setting cannot be; compile it again" % (name, value))
        if not lattice.leq(value, setting.strictest()) and not reasons.get(name):
            raise BadPolicy("the policy loosens %s and gives no reason; add one to the profile" % name)
        baseline[name] = value
    return baseline


def read_broker(table: "Any") -> "dict[str, Any]":
    """Read where sealed readings go: one broker, and `others` (not always there) that are tried when it is away."""
    broker = dict(shaped(table, BROKER, "broker", {"others": list}))
    others = broker.pop("others", [])
    if len(others) > MOST_OTHERS:
        raise BadPolicy("the policy names more other brokers than can be; compile it again")
    if others:
        broker["others"] = tuple([shaped(one, BROKER, "another broker") for one in others])
    return broker


def read_policy(table: "Any", settings: "dict[str, Setting]") -> Policy:
    """Read a decoded, already verified policy; refuse whatever is not exactly right, and use nothing of it then."""
    plain = {k: table[k] for k in table if k != "recovery"} if type(table) is dict else table
    t = shaped(plain, TOP, "the policy")
    recovery = shaped(table["recovery"], RECOVERY, "recovery") if "recovery" in table else {}
    broker = read_broker(t["broker"])
    queue = shaped(t["queue"], {"bytes": int}, "queue")
    if t["v"] != 1 or t["sequence"] < 1 or t["expires"] <= t["issued"] or not slug(t["fleet"]) or not slug(t["class"]):
        raise BadPolicy("the policy has a version, sequence, time or name that this version of Privet cannot use")
    for credential in t["credentials"]:
        shaped(credential, {"kind": str, "params": dict}, "a credential")
    if not all([type(c) is str and slug(c) for c in t["channels"]]) or not t["channels"]:
        raise BadPolicy("the policy names no way to reach the owner; add channels to the profile")
    return Policy(
        fleet=t["fleet"], model=t["class"], device=t["device"], sequence=t["sequence"], issued=t["issued"],
        expires=t["expires"], baseline=read_baseline(t, settings), reasons=dict(t["reasons"]),
        purposes=read_purposes(t), fields=read_fields(t), recipients=tuple([Recipient(**r) for r in t["recipients"]]),
        credentials=tuple(t["credentials"]), channels=tuple(t["channels"]), broker=broker, queue_bytes=queue["bytes"],
        recovery=recovery,
    )  # fmt: skip


def admit(policy: Policy, identity: Identity, newest: int, now: int) -> None:
    """Refuse a policy for another device, one that is not newer than `newest` (0: none yet), or one that is over."""
    if policy.fleet != identity.fleet or policy.model != identity.model or policy.device not in ("", identity.device):
        raise WrongDevice("the policy was made for another device; nothing was changed")
    if policy.sequence <= newest:
        raise OldPolicy(
            "the policy is number %d and number %d is in force; nothing was changed" % (policy.sequence, newest)
        )
    if policy.expires <= now:
        raise ExpiredPolicy("the policy is over since its date of expiry; nothing was changed, ask for a fresh one")


def layer(
    current: "dict[str, Value]", offered: "dict[str, Value]", settings: "dict[str, Setting]"
) -> "tuple[dict[str, Value], tuple[str, ...]]":
    """Lay a policy from afar over the one in force: the stricter of both wins; name the settings it would loosen.

    A setting that the new policy leaves out keeps its present baseline; that too is named, for leaving out loosens.
    """
    merged, looser = dict(current), []
    for name in sorted(offered):
        setting = settings[name]
        now = current.get(name, setting.strictest())
        if not setting.lattice().leq(offered[name], now):
            looser.append(name)
        merged[name] = setting.lattice().meet(now, offered[name])
    for name in sorted(current):
        if name not in offered:
            looser.append(name)
    return merged, tuple(looser)
