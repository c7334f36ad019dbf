"""The policy in force: verified before a byte of it is used, and from afar only ever tighter."""

from typing import Any, Protocol

from agent.core import cbor
from agent.core.clock import Clock, Least, carried, floor, worth
from agent.core.errors import BadInput, BadPolicy, Missing
from agent.core.health import GOOD
from agent.core.policy import MAX_BYTES, Identity, Policy, admit, layer, read_policy
from agent.core.record import Record, Value, frozen
from agent.core.setting import Setting
from agent.core.versions import fits, within
from agent.guard.books import Store
from agent.system.door import System

DEVICE = "/etc/privet/device.cbor"
SEED = "/etc/privet/policy.cbor"


class Verifier(Protocol):
    """What checks signatures (agent.system.vault)."""

    def verify_policy(self, signed: bytes, keys: tuple[bytes, ...]) -> bytes:
        """Return the payload of a COSE_Sign1 signed by one of the Ed25519 keys, or raise BadPolicy."""


class Anchor(Record):
    """What the device was given at flashing: who it is, whose signature it trusts, a time it cannot be before."""

    __slots__ = ("floor", "identity", "keys")
    identity: Identity
    keys: tuple[bytes, ...]
    floor: int


class Offer(Record):
    """A policy from afar, laid over the one in force: the merged baseline and the settings it would loosen."""

    __slots__ = ("baseline", "looser", "policy")
    policy: Policy
    baseline: dict[str, Value]
    looser: tuple[str, ...]


def read_anchor(system: System) -> Anchor:
    """Read the facts of flashing."""
    try:
        table = cbor.decode(system.read(DEVICE, 65536))
    except Missing as error:
        raise Missing(
            f"this device was not set up: {DEVICE} is missing; flash or set it up with privet-fleet"
        ) from error
    except BadInput as error:
        raise BadPolicy(f"{DEVICE} is damaged ({error}); set the device up again") from error
    if not isinstance(table, dict):
        raise BadPolicy(f"{DEVICE} is damaged; set the device up again")
    keys = table.get("policy_keys")
    names = [table.get(k) for k in ("fleet", "class", "device")]
    if not all(isinstance(n, str) for n in names) or not isinstance(keys, list) or not keys:
        raise BadPolicy(f"{DEVICE} lacks a name or a key; set the device up again")
    since = table.get("floor")
    return Anchor(
        identity=Identity(fleet=str(names[0]), model=str(names[1]), device=str(names[2])),
        keys=tuple(bytes(k) for k in keys),
        floor=since if isinstance(since, int) else 0,
    )


class Rules:
    """Keeps the policy in force and takes new ones."""

    def __init__(self, store: Store, verifier: Verifier, settings: dict[str, Setting], anchor: Anchor) -> None:
        self.store = store
        self.verifier = verifier
        self.settings = settings
        self.anchor = anchor
        self.policy: Policy | None = None
        self.shut_in = False
        self.unknown: tuple[str, ...] = ()  # settings of the policy in force that this version does not know
        self.bare = False  # no policy counts: every setting at its strictest

    def read(self, signed: bytes) -> Policy:
        """Verify first, then read; nothing is kept."""
        if len(signed) > MAX_BYTES:
            raise BadPolicy(f"the policy is longer than {MAX_BYTES} bytes; nothing was changed")
        return read_policy(self.verified(signed), self.settings)

    def verified(self, signed: bytes) -> Any:
        """Verify a policy and decode it."""
        return cbor.decode(self.verifier.verify_policy(signed, self.anchor.keys), MAX_BYTES)

    def again(self, signed: bytes) -> Policy:
        """Read what was taken already, if by another version of Privet; what this one does not know is `unknown`."""
        table, self.unknown = within(self.verified(signed), self.settings)
        return read_policy(table, self.settings)

    def now(self, clock: Clock) -> int:
        """Return the wall time, never before the earliest that it can be."""
        return floor(clock, self.least(clock).wall)

    def kept(self) -> Least:
        """Return the earliest that it could be when that was kept last."""
        row = self.store.get("least")
        sound = isinstance(row, list) and len(row) == 3 and all(type(number) is int for number in row)
        wall, boot, uptime = row if sound else (0, -1, 0)
        return Least(wall=wall, boot=boot, uptime=uptime)

    def least(self, clock: Clock) -> Least:
        """Return the earliest that it can be now: by flashing, by the fleet's signed time, by how long we have run."""
        told: Any = self.store.get("time")
        return carried(self.kept(), max(self.anchor.floor, told if isinstance(told, int) else 0), clock)

    def keep_time(self, clock: Clock) -> None:
        """Keep the earliest that it can be, now and then; whatever the clock says."""
        now = self.least(clock)
        if worth(self.kept(), now):
            self.store.put({"least": [now.wall, now.boot, now.uptime]})

    def load(self, system: System) -> Policy:
        """Take up the policy in force, at the very first start the one the device was flashed with."""
        kept = self.store.get("policy")
        if isinstance(kept, bytes):
            self.policy = self.again(kept)
            return self.policy
        signed = system.read(SEED, MAX_BYTES + 1)
        policy = self.read(signed)
        admit(policy, self.anchor.identity, 0, self.now(system.clock()))
        self.keep(signed, policy, policy.baseline, "flashed")
        return policy

    def fall_back(self, stage: str) -> str:
        """Put the last good policy in force again, or none at all; return what is set aside, in words.

        The number of the one set aside stays the newest, so it cannot come again from afar.
        """
        kept, good = self.store.get("policy"), self.store.get("good")
        if stage == GOOD and isinstance(good, dict):
            self.policy = self.again(good["policy"])
            if good["policy"] == kept:
                return ""
            named = f"policy number {self.store.get('newest')}"
            note = ("policy", {"sequence": self.policy.sequence, "how": "last good", "set_aside": named})
            self.store.put({"policy": good["policy"], "baseline": good["baseline"], "set_aside": kept}, (note,))
            return named
        self.bare = True
        self.store.append("policy", {"how": "none", "set_aside": f"policy number {self.store.get('newest') or 0}"})
        return "every policy it was given"

    def well(self) -> None:
        """Remember the policy in force as one with which this device starts and looks at itself."""
        kept = {"policy": self.store.get("policy"), "baseline": self.store.get("baseline")}
        if self.policy is not None and self.store.get("good") != kept:
            self.store.put({"good": kept})

    def offer(self, signed: bytes, clock: Clock) -> Offer:
        """Judge a policy from afar; raises BadPolicy and its kin, and then nothing has changed."""
        policy = self.read(signed)
        newest = self.store.get("newest")
        admit(policy, self.anchor.identity, newest if isinstance(newest, int) else 0, self.now(clock))
        current = self.baseline()
        merged, looser = layer(current, policy.baseline, self.settings)
        return Offer(policy=policy, baseline=merged, looser=looser)

    def accept(self, signed: bytes, offer: Offer) -> None:
        """Put an offered policy in force; channels and credentials of the former one stay: fewer would be looser."""
        self.keep(signed, offer.policy, offer.baseline, "received", offer.looser)

    def keep(
        self, signed: bytes, policy: Policy, baseline: dict[str, Value], how: str, looser: tuple[str, ...] = ()
    ) -> None:
        """Keep a policy, its merged baseline and its number in one transaction, with the journal entry."""
        channels = sorted({*self.channels(), *policy.channels})
        self.store.put(
            {"policy": signed, "baseline": baseline, "newest": policy.sequence, "channels": channels},
            (("policy", {"sequence": policy.sequence, "how": how, "not_loosened": looser}),),
        )
        self.policy = policy

    def baseline(self) -> dict[str, Value]:
        """Return the merged baseline in force; a setting that no policy names stands at its strictest option."""
        table = {} if self.bare else self.store.get("baseline") or {}
        baseline = {name: setting.strictest() for name, setting in self.settings.items()}
        baseline.update({k: frozen(v) for k, v in table.items() if fits(self.settings.get(k), v)})
        if self.shut_in:
            baseline["firewall.inbound"] = ()
        return baseline

    def channels(self) -> tuple[str, ...]:
        """Return every channel any accepted policy named."""
        return tuple(self.store.get("channels") or ())
