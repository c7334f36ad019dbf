"""The form of what the courier brings back from the enrolment server, and the sentences about how it stands."""

from typing import Any

ANSWER = {"what": str, "outcome": str, "body": bytes, "why": str, "wait": int, "begins": int, "ends": int}
NO_SEED = "this device has no certificate and no seed to get one with; write a new seed with privet-fleet inject"
HANDED = "this device was erased for its next owner; it waits for the fleet's word that it may be claimed anew"
NO_CLOCK = "the clock of this device is wrong and the enrolment server signs no time; it waits for the clock to be set"
NOT_TAKEN = "the broker has not let this device in with its new certificate yet; the old one stays in use"


def shaped(answer: dict[str, Any]) -> bool:
    """Say whether an answer has the fields and kinds it should."""
    return all(type(answer.get(name)) is kind for name, kind in ANSWER.items())
