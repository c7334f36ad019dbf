"""From a checked profile to the policy map of provisioning/FORMAT.md, and to its one byte form."""

from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import cbor2

from agent.core.errors import BadInput
from agent.core.policy import MAX_BYTES, Policy, read_policy
from agent.core.setting import plain
from provisioning.profile.catalogue import Catalogue, on_platform
from provisioning.profile.check import FLOW_SETTINGS
from provisioning.profile.schema import Noise, Profile, Purpose, Recipient, TelemetryField
from provisioning.profile.words import metres, seconds, size_bytes

PolicyMap = dict[str, Any]
FIRST = "uid:1000"  # the first person's account, however it is called
LISTENERS, ACCOUNTS = "net.listeners", "accounts.sign_in"


class Issue(NamedTuple):
    """What one issue of a policy adds to its profile: whose it is, its number, its times (Unix seconds), the broker.

    `keys` holds the recipients' public HPKE keys by recipient id; `device` is "" for every device of the class.
    """

    fleet: str
    sequence: int
    issued: int
    keys: dict[str, bytes]
    broker: tuple[str, int] | None = None
    device: str = ""
    expires: int = 0


def policy_map(profile: Profile, catalogue: Catalogue, issue: Issue) -> PolicyMap:
    """Turn a whole profile (see `inherit.load`) into a policy map; BadInput when the issue does not fit it."""
    broker = (profile.broker.host, profile.broker.port) if profile.broker else issue.broker
    others = profile.broker.others if profile.broker else []
    if not profile.recipient:  # nothing is ever sent
        broker, others = ("", 0), []
    if broker is None:
        raise BadInput(f"{profile.model} names no broker and the fleet has none; add [broker] host = … to the profile")
    if profile.queue is None:
        raise BadInput(f"{profile.model} names no queue size; add [queue] with a size")
    made: PolicyMap = {
        "v": 1,
        "fleet": issue.fleet,
        "class": profile.model,
        "device": issue.device,
        "sequence": issue.sequence,
        "issued": issue.issued,
        "expires": expiry(profile, issue),
        "baseline": baseline(profile, catalogue),
        "reasons": reasons(profile, catalogue),
        "purposes": [purpose_map(purpose) for purpose in profile.purpose],
        "fields": [field_map(field) for field in profile.field],
        "recipients": [
            {"id": one.id, "name": said_name(one), "country": one.country, "key": recipient_key(one.id, issue)}
            for one in profile.recipient
        ],
        "credentials": [{"kind": one.kind, "params": dict(one.params)} for one in profile.credential],
        "channels": list(profile.channels),
        "broker": {"host": broker[0], "port": broker[1]}
        | ({"others": [{"host": one.host, "port": one.port} for one in others]} if others else {}),
        "queue": {"bytes": size_bytes(profile.queue.size)},
    }
    if profile.recovery is not None:
        name = profile.recovery.recipient
        key = recipient_key(name, issue) if name else b""
        made["recovery"] = {"console": profile.recovery.console, "id": name or "", "key": key}
    as_policy(made, catalogue)
    return made


def as_policy(made: PolicyMap, catalogue: Catalogue) -> Policy:
    """Read a policy map as the device will; BadPolicy says what it would refuse."""
    return read_policy(made, catalogue.settings)


def expiry(profile: Profile, issue: Issue) -> int:
    """Return when the policy is over: as asked, else with the support of the model."""
    if issue.expires:
        ends = issue.expires
    elif profile.support_until:
        ends = int(datetime.combine(profile.support_until, time(23, 59, 59), UTC).timestamp())
    else:
        raise BadInput(f"{profile.model} has no support_until; add it to the profile")
    if ends <= issue.issued:
        raise BadInput(f"the support of {profile.model} is over; move support_until in the profile")
    return ends


def baseline(profile: Profile, catalogue: Catalogue) -> dict[str, Any]:
    """Return the wanted value of every setting: the profile's, else the strictest; the firewall's from the flows.

    Who may listen is both: what the profile names, and the programs of the inbound flows; so is who may sign in: whom
    the profile names, and the owner of its Linux accounts.
    """
    here = on_platform(catalogue, profile.platform).settings
    made: dict[str, Any] = {name: setting.strictest() for name, setting in here.items()}
    made |= {name: plain(choice.value) for name, choice in profile.settings.items()}
    for side, name in FLOW_SETTINGS.items():
        if name in here:
            made[name] = declared(profile, side)
    if LISTENERS in made:
        made[LISTENERS] = plain([*made[LISTENERS], *listeners(profile)])
    if ACCOUNTS in made:
        made[ACCOUNTS] = plain([*made[ACCOUNTS], *owners(profile)])
    return {name: list(value) if isinstance(value, tuple) else value for name, value in made.items()}


def owners(profile: Profile) -> list[str]:
    """Return the accounts of the owner, as words of accounts.sign_in; one that is named may be the first person's."""
    found = [one.params.get("owner_account") for one in profile.credential if one.kind == "linux_account"]
    names = [name for name in found if isinstance(name, str)]
    return sorted({*names, *([FIRST] if names else [])})


def declared(profile: Profile, side: str) -> tuple[str, ...]:
    """Return the flows of one side: what the firewall is made from, and every export of it."""
    return tuple(sorted({flow.flow for flow in getattr(profile.flows, side)}))


def listeners(profile: Profile) -> list[str]:
    """Return the programs that may wait for the inbound flows, as words of net.listeners."""
    found = []
    for flow in profile.flows.inbound:
        protocol, _, rest = flow.flow.partition("/")
        ends = [int(end) for end in rest.partition("@")[0].split("-") if end.isdigit()]
        for port in range(ends[0], ends[-1] + 1) if ends else ():
            found += [f"{protocol}/{port}@any:{program}" for program in flow.programs]
            found += [f"{protocol}/{port}@link:{program}" for program in flow.programs]
    return found


def reasons(profile: Profile, catalogue: Catalogue) -> dict[str, str]:
    """Return why each setting that is looser than its strictest is so."""
    here, made = on_platform(catalogue, profile.platform).settings, dict[str, str]()
    for name, choice in profile.settings.items():
        setting = catalogue.settings[name]
        if choice.reason and not setting.lattice().leq(plain(choice.value), setting.strictest()):
            made[name] = choice.reason
    for side, name in FLOW_SETTINGS.items():
        flows = getattr(profile.flows, side)
        if flows and name in here:
            made[name] = "; ".join(f"{flow.flow}: {flow.purpose}" for flow in flows)
    programs = [f"{', '.join(one.programs)}: {one.purpose}" for one in profile.flows.inbound if one.programs]
    people = [f"{name} is the owner's account." for name in owners(profile)]
    for name, derived in ((LISTENERS, programs), (ACCOUNTS, people)):
        if derived and name in here:
            made[name] = " ".join([*([made[name]] if name in made else []), *derived])
    return made


def purpose_map(purpose: Purpose) -> dict[str, Any]:
    """Lay one purpose out for the policy."""
    return {
        "id": purpose.id,
        "title": purpose.title,
        "text": purpose.text,
        "basis": purpose.basis,
        "recipients": sorted(set(purpose.recipients)),
        "retention_days": purpose.retention_days,
        **({"pseudonym": seconds(purpose.pseudonym)} if purpose.pseudonym else {}),
    }


def field_map(field: TelemetryField) -> dict[str, Any]:
    """Lay one field out for the policy."""
    return {
        "name": field.name,
        "title": field.title,
        "purpose": field.purpose,
        "bucket": seconds(field.bucket),
        **({"cell": metres(field.cell)} if field.cell else number_map(field)),
        **({"keep": sorted(set(field.keep))} if field.keep else {}),
        **({"most": field.most} if field.most else {}),
        **({"noise": noise_list(field.noise)} if field.noise else {}),
    }


def noise_list(noise: Noise) -> list[int]:
    """Lay noise out: its epsilon as a fraction in lowest terms, and how many readings a mean is of at least."""
    return [*Fraction(noise.epsilon).as_integer_ratio(), noise.least]


def number_map(field: TelemetryField) -> dict[str, Any]:
    """Lay out what belongs to a number: whole numbers of 10^-scale."""
    numbers = field.numbers()
    scale = max(decimals(number) for number in numbers)
    step, low, high = (int(number.scaleb(scale)) for number in numbers)
    return {"unit": field.unit, "scale": scale, "step": step, "low": low, "high": high}


def decimals(number: Decimal) -> int:
    """Return how many decimals a number needs."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def said_name(recipient: Recipient) -> str:
    """Return what the owner reads in the notice, before agreeing: of an opener also what it does."""
    return (
        f"{recipient.name}, in plain text for your own programs there" if recipient.kind == "opener" else recipient.name
    )


def recipient_key(name: str, issue: Issue) -> bytes:
    """Return a recipient's public key, or say how to make one."""
    if name not in issue.keys:
        raise BadInput(f"the fleet has no key for the recipient {name}; run: privet-fleet recipient add {name}")
    return issue.keys[name]


def encode(made: PolicyMap) -> bytes:
    """Return the deterministic CBOR of a policy map (RFC 8949 §4.2), at most 256 KiB."""
    payload = cbor2.dumps(made, canonical=True)
    if len(payload) > MAX_BYTES:
        raise BadInput(f"the policy would have {len(payload)} bytes and may have {MAX_BYTES}; shorten the profile")
    return payload


def blank_issue(whole: Profile, known: Policy | None = None) -> Issue:
    """Make an issue without a fleet: empty keys, unless a policy is known."""
    keys = {one.id: b"" for one in whole.recipient}
    if known is None:
        return Issue("any", 1, 1, keys, ("broker.invalid", 8883))
    keys |= {one.id: one.key for one in known.recipients}
    return Issue(known.fleet, 1, 1, keys, (known.broker["host"], known.broker["port"]))
