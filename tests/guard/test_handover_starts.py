"""The receipt of an erasure: handed in within the same start from its record, in the start after from the store."""

from typing import Any

from agent.guard import glass
from agent.guard.handover import NAME, TAKEN, WHAT, Handover
from tests.guard.disk_store import DiskStore
from tests.guard.enrolling import Desk, Start, card

TOKEN = b"t" * 32
ASKED = {"state": "asked", "by": glass.OWNER, "receipt": b"signed", "token": TOKEN}


def taken() -> dict[str, Any]:
    """Return the server's word that the receipt is on record."""
    return {"what": WHAT, "outcome": TAKEN, "body": b"", "why": "it waits", "wait": 60, "begins": 0, "ends": 0}


def asking(start: Start) -> tuple[Handover, list[Any]]:
    """Put the part beside an enrolment; return it with the frames it gives the courier."""
    frames: list[Any] = []
    made = Handover(start.made, lambda _warning: None)
    made.courier(frames.append)
    made.turn()
    return made, frames


def test_in_the_same_start_it_is_sent_from_the_record(desk: Desk) -> None:
    """Nothing before; once erased it goes at once, is not asked again when taken, and the old store learns nothing."""
    system = card(desk)
    start = Start(system, desk)
    made, frames = asking(start)
    assert (made.waiting(), frames) == ({}, [])
    glass.keep(system, glass.ASKED, ASKED)
    start.made.pair.erase()
    assert not made.waiting(), "until it is told to look"
    made.look()
    made.turn()
    ((kind, request),) = frames
    assert (kind, request["what"], request["request"], request["token"]) == ("enrol", WHAT, b"signed", b"")
    made.heard(taken())
    assert made.waiting() == {} and start.store.get(NAME) is None
    again, frames = asking(Start(system, desk, online=False))
    assert again.begun and len(frames) == 1, "a guard that starts anew in the same start sends it once more"


def test_in_the_start_after_it_is_sent_from_the_store(desk: Desk) -> None:
    """The record has ended in the store; it is sent from there, and waits for the voucher though it was taken."""
    system = card(desk)
    Start(system, desk).made.pair.erase()
    glass.keep(system, glass.ASKED, {**ASKED, "state": "erased", "carried": {}})
    store = DiskStore(system)
    store.put({"boot": None})
    glass.resume(system, store)  # type: ignore[arg-type]
    made, frames = asking(Start(system, desk, online=False))
    assert made.begun == {} and made.waiting()["receipt"] == b"signed"
    ((_, request),) = frames
    assert request["request"] == b"signed"
    made.heard(taken())
    assert made.enrolment.store.get(NAME)["taken"] is True
    assert made.waiting(), "the voucher is still to come"


def test_a_recovery_file_hands_nothing_over(desk: Desk) -> None:
    """The known-bad twin of the record: not asked by the owner, there is no receipt, and nothing is sent."""
    system = card(desk)
    glass.keep(system, glass.ASKED, {"state": "asked"})
    made, frames = asking(Start(system, desk))
    assert (made.begun, frames) == ({}, [])
