"""Issue policies: compile a profile with the fleet's keys, sign it, keep it, say what it changes; and seed devices."""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cbor2

from agent.core.errors import BadInput, Missing, PrivetError
from provisioning.fleet.identity import Fleet, checked
from provisioning.fleet.safe import new_file
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, as_policy, encode, policy_map
from provisioning.profile.diff import Difference, compare
from provisioning.profile.inherit import load
from provisioning.profile.schema import Profile
from provisioning.profile.sign import payload_of, sign, verify

DAY = 86400
POLICIES = "policies"
PUBLIC = "recipient-{}.pub"


class Issued(NamedTuple):
    """An issued policy: its class, number, expiry (Unix seconds), signed bytes, where it is kept, what it changes."""

    model: str
    sequence: int
    expires: int
    signed: bytes
    path: Path
    changes: list[Difference]


def current_policy(fleet: Fleet, path: Path) -> Issued:
    """Return the newest policy of a class when it still says what the profile says, else issue the next one."""
    catalogue = shipped()
    profile = load(path, catalogue).profile
    while True:
        found = still_current(fleet, profile)
        if found is not None:
            return found
        made = next_policy(fleet, path)
        if new_file(made.path, made.signed):
            return made  # else somebody else issued one meanwhile, which may be what we want


def still_current(fleet: Fleet, profile: Profile) -> Issued | None:
    """Return the newest policy of a class when it says what the profile says and has not ended."""
    catalogue, newest = shipped(), newest_policy(fleet, profile.model)
    if newest:
        signed = newest.read_bytes()
        with suppress(PrivetError):  # one that cannot be read is not reused
            old = cbor2.loads(verify(signed, (fleet.policy_key(),)))
            keys = recipient_keys(fleet, readers(profile))
            issue = Issue(fleet.name, old["sequence"], old["issued"], keys, fleet_broker(fleet), "", old["expires"])
            if policy_map(profile, catalogue, issue) == old and old["expires"] > time.time():
                return Issued(profile.model, old["sequence"], old["expires"], signed, newest, [])
    return None


def issue_policy(fleet: Fleet, path: Path, device: str = "", days: int | None = None) -> Issued:
    """Compile, sign and keep the next policy of a class (or of one device of it); no number is given twice."""
    while True:
        made = next_policy(fleet, path, device, days)
        if new_file(made.path, made.signed):
            return made


def next_policy(fleet: Fleet, path: Path, device: str = "", days: int | None = None) -> Issued:
    """Compile and sign the next policy without keeping it, to show first what it would change."""
    catalogue, now = shipped(), int(time.time())
    profile = load(path, catalogue).profile
    issue = Issue(
        fleet=fleet.name,
        sequence=next_sequence(fleet, profile.model),
        issued=now,
        keys=recipient_keys(fleet, readers(profile)),
        broker=fleet_broker(fleet),
        device=device,
        expires=now + days * DAY if days else 0,
    )
    made = policy_map(profile, catalogue, issue)
    before = newest_policy(fleet, profile.model, device) or newest_policy(fleet, profile.model)
    changes: list[Difference] = []
    if before:
        try:
            changes = compare(
                as_policy(payload_of(before.read_bytes()), catalogue), as_policy(made, catalogue), catalogue
            )
        except PrivetError:
            changes = []  # made by another version of Privet: there is nothing to compare with
    signed = sign(encode(made), fleet.signing_key())
    kept = policy_folder(fleet, profile.model, device) / f"{issue.sequence}.cbor"
    return Issued(profile.model, issue.sequence, made["expires"], signed, kept, changes)


def add_recipient(fleet: Fleet, name: str) -> bytes:
    """Make a recipient's keys; the public one is kept apart, so that the private one can move to where it is used."""
    public = fleet.add_recipient(name)
    fleet.safe.write(PUBLIC.format(name), public)
    return public


def readers(profile: Profile) -> list[str]:
    """Return the ids of all whose keys a policy names."""
    recovery = profile.recovery.recipient if profile.recovery is not None else None
    return [*(one.id for one in profile.recipient), *([recovery] if recovery else [])]


def recipient_keys(fleet: Fleet, names: list[str]) -> dict[str, bytes]:
    """Return the public keys of those recipients that have one."""
    found = {}
    for name in names:
        try:
            found[name] = fleet.safe.read(PUBLIC.format(name))
        except Missing:
            continue
    return found


def fleet_broker(fleet: Fleet) -> tuple[str, int] | None:
    """Return the broker the fleet was made with."""
    host, port = fleet.safe.facts.get("broker_host", ""), fleet.safe.facts.get("broker_port", "")
    if not host:
        return None
    if not port.isdecimal():
        raise BadInput("the fleet's broker port is damaged; make it right in fleet.json")
    return host, int(port)


def policy_folder(fleet: Fleet, model: str, device: str) -> Path:
    """Return where the issued policies of a class, or of one device of it, are kept."""
    return fleet.safe.directory / POLICIES / model / (device or "every-device")


def next_sequence(fleet: Fleet, model: str) -> int:
    """Return the number after the highest one ever issued for this class, whichever device it was for."""
    folder = fleet.safe.directory / POLICIES / model
    issued = [int(path.stem) for path in folder.glob("*/*.cbor") if path.stem.isdecimal()]
    return max(issued, default=0) + 1


def newest_policy(fleet: Fleet, model: str, device: str = "") -> Path | None:
    """Return the newest issued policy of a class, or of one device, None when there is none."""
    paths = [path for path in policy_folder(fleet, model, device).glob("*.cbor") if path.stem.isdecimal()]
    return max(paths, key=lambda path: int(path.stem), default=None)


def pseudonym_spans(fleet: Fleet) -> dict[str, int]:
    """Return how many seconds a pseudonym lasts for each purpose of the newest policies that says so: the shortest."""
    spans: dict[str, int] = {}
    for model in sorted(path.name for path in (fleet.safe.directory / POLICIES).glob("*")):
        newest = newest_policy(fleet, model)
        for purpose in payload_of(newest.read_bytes())["purposes"] if newest else ():
            if span := purpose.get("pseudonym"):
                spans[purpose["id"]] = min(span, spans.get(purpose["id"], span))
    return spans


def seed_files(fleet: Fleet, issued: Issued, device: str) -> dict[str, bytes]:
    """Return what is laid into /etc/privet of a new device: who it is, whose policies it obeys, its first policy."""
    facts = {
        "fleet": fleet.name,
        "class": issued.model,
        "device": checked(device, "device"),
        "policy_keys": [fleet.policy_key()],
        "floor": int(time.time()),
    }
    return {"device.cbor": cbor2.dumps(facts, canonical=True), "policy.cbor": issued.signed}
