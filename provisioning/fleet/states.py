"""What a device of the fleet can be, and what makes it something else: one table, and nothing that happens outside it.

The way of most: planned, flashed, verified, claimed, active; then transferring, reset and claimed by a new owner, or
retired for good. From anywhere into quarantine, and out of it by a person's word alone, to what the device was before
or what happened to it meanwhile made of that. Who is claimed or active has a certificate in force; whose last one a
person revoked waits for a new seed.
"""

from agent.core.errors import Refused

PLANNED, FLASHED, VERIFIED, CLAIMED, ACTIVE = "planned", "flashed", "verified", "claimed", "active"
QUARANTINED, TRANSFERRING, RESET, REVOKED, RETIRED = "quarantined", "transferring", "reset", "revoked", "retired"
STATES = (PLANNED, FLASHED, VERIFIED, CLAIMED, ACTIVE, QUARANTINED, TRANSFERRING, RESET, REVOKED, RETIRED)

# What can happen.
FLASH = "flash"  # a station wrote its slot: the token in it is new, the one before is void
VERIFY = "verify"  # the whole card was read back
FAIL = "fail"  # it was not what was written
CLAIM = "claim"  # it came with its token and its own key
SEEN = "seen"  # it came back with its certificate
QUARANTINE = "quarantine"
RELEASE = "release"
TRANSFER = "transfer"  # its owner gives it away
ERASED = "erased"  # the old owner's signed receipt is here, or a person answers for its lack by name
REVOKE = "revoke"  # the last of its certificates counts no more, by a person's word
RETIRE = "retire"
EVENTS = (FLASH, VERIFY, FAIL, CLAIM, SEEN, QUARANTINE, RELEASE, TRANSFER, ERASED, REVOKE, RETIRE)

TABLE: dict[tuple[str, str], str] = {
    (PLANNED, FLASH): FLASHED,
    (PLANNED, CLAIM): CLAIMED,  # seeded by hand, without a station that says so
    (FLASHED, FLASH): FLASHED,
    (FLASHED, VERIFY): VERIFIED,
    (FLASHED, FAIL): PLANNED,
    (FLASHED, CLAIM): CLAIMED,
    (VERIFIED, FLASH): FLASHED,
    (VERIFIED, VERIFY): VERIFIED,
    (VERIFIED, FAIL): PLANNED,
    (VERIFIED, CLAIM): CLAIMED,
    (CLAIMED, FLASH): CLAIMED,  # written anew while it is in use: what it has counts until the new token is used
    (CLAIMED, VERIFY): CLAIMED,
    (CLAIMED, CLAIM): CLAIMED,
    (CLAIMED, SEEN): ACTIVE,
    (CLAIMED, TRANSFER): TRANSFERRING,
    (CLAIMED, ERASED): RESET,  # its owner began: what they signed is enough to end what they had
    (CLAIMED, REVOKE): REVOKED,
    (ACTIVE, FLASH): ACTIVE,
    (ACTIVE, VERIFY): ACTIVE,
    (ACTIVE, CLAIM): CLAIMED,
    (ACTIVE, SEEN): ACTIVE,
    (ACTIVE, TRANSFER): TRANSFERRING,
    (ACTIVE, ERASED): RESET,
    (ACTIVE, REVOKE): REVOKED,
    (QUARANTINED, QUARANTINE): QUARANTINED,
    (TRANSFERRING, SEEN): TRANSFERRING,
    (TRANSFERRING, ERASED): RESET,
    (TRANSFERRING, REVOKE): TRANSFERRING,
    (REVOKED, FLASH): REVOKED,
    (REVOKED, VERIFY): REVOKED,
    (REVOKED, CLAIM): CLAIMED,
    (REVOKED, TRANSFER): TRANSFERRING,
    (REVOKED, ERASED): RESET,
    (RESET, FLASH): RESET,
    (RESET, VERIFY): RESET,
    (RESET, CLAIM): CLAIMED,
    (RESET, TRANSFER): RESET,  # its operator agrees to the next owner
    **{(state, QUARANTINE): QUARANTINED for state in STATES if state != RETIRED},
    **{(state, RETIRE): RETIRED for state in STATES if state != RETIRED},
}
WHY = {
    PLANNED: "was planned and not flashed yet",
    FLASHED: "was flashed, and nobody has claimed it yet",
    VERIFIED: "was flashed, and nobody has claimed it yet",
    CLAIMED: "has a certificate",
    ACTIVE: "is in use",
    QUARANTINED: "is in quarantine; look at why, then release or retire it",
    TRANSFERRING: "waits for its owner's receipt of erasure",
    RESET: "waits to be claimed by its new owner",
    REVOKED: "has no certificate that counts; write a new seed with privet-fleet devices reseed",
    RETIRED: "is retired for good",
}


def after(state: str, event: str, before: str = "") -> str:
    """Return the state after an event; Refused when it cannot happen now.

    `before` is where a device in quarantine is let back to.
    """
    if (state, event) == (QUARANTINED, RELEASE):
        return before
    try:
        return TABLE[state, event]
    except KeyError:
        known = WHY.get(state, f"is in a state nobody knows, {state!r}")
        raise Refused(f"{event} is not possible: this device {known}") from None


def possible(state: str, event: str) -> bool:
    """Say whether an event can happen in a state."""
    return (state, event) in TABLE
