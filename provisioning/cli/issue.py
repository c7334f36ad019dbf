"""Issue a policy: compile a profile with the fleet's keys, sign it, keep it, and say what it changes."""

import time
from pathlib import Path
from typing import NamedTuple

from agent.core.errors import PrivetError
from provisioning.cli.opened import fleet_broker, newest_policy, next_sequence, policy_folder, recipient_keys
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, as_policy, encode, policy_map
from provisioning.profile.diff import Difference, compare
from provisioning.profile.inherit import load
from provisioning.profile.sign import payload_of, sign

DAY = 86400


class Issued(NamedTuple):
    """An issued policy: its class, number, expiry (Unix seconds), signed bytes, where it is kept, what it changes."""

    model: str
    sequence: int
    expires: int
    signed: bytes
    path: Path
    changes: list[Difference]


def issue_policy(fleet: Fleet, path: Path, device: str = "", days: int | None = None) -> Issued:
    """Compile, sign and keep the next policy of a class (or of one device of it)."""
    catalogue, now = shipped(), int(time.time())
    profile = load(path, catalogue).profile
    issue = Issue(
        fleet=fleet.name,
        sequence=next_sequence(fleet, profile.model),
        issued=now,
        keys=recipient_keys(fleet, [one.id for one in profile.recipient]),
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
    whole_file(kept, signed)
    return Issued(profile.model, issue.sequence, made["expires"], signed, kept, changes)
