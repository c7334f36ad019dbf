"""Whatever the clock of a device says, and whatever an enrolment server answers: only what is true is taken."""

import pytest

from agent.core import enrol
from agent.guard.pair import HOME
from tests.guard.enrolling import DAY, NOW, Desk, Start, card, certificate, enrolled, raw_holds


@pytest.mark.parametrize(
    ("wall", "asked"),
    [(5, NOW), (NOW + 9 * 365 * DAY, NOW), (NOW - 300 * DAY, NOW), (4_200_000_000, NOW)],
    ids=["1970", "nine years ahead", "before it was flashed", "2103"],
)
def test_any_clock_enrols_by_the_signed_time(wall: int, asked: int, desk: Desk):
    """From any date the certificate is judged by the server's signed time, and the floor moves there and not back."""
    system = card(desk)
    system.wall = wall
    start = Start(system, desk)
    enrolled(system, desk)
    assert start.store.get("time") == asked and start.times[0] == asked
    system.wall = 5
    system.reboot()
    start = Start(system, desk)
    assert start.times[0] == asked and start.made.act == enrol.REST  # learnt again: nothing else tells the time
    assert start.store.get("time") == asked


def test_a_wrong_clock_and_no_signed_time_wait(desk: Desk):
    """At 1970 and without a signed time nothing is asked for; once the clock is set, it goes on by the clock."""
    desk.signs = False
    system = card(desk)
    system.wall = 5
    start = Start(system, desk)
    assert desk.asked == ["time"] and "clock of this device is wrong" in start.made.why
    assert certificate(system) is None and raw_holds(system)
    system.wall = NOW
    start.later(1000)
    enrolled(system, desk)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": NOW - 3 * DAY}, "before one that this device knows"),
        ({"time": NOW + 31 * DAY}, "outside of its own certificate's life"),
        ({"shown": (NOW + DAY, NOW + 2 * DAY)}, "outside of its own certificate's life"),
        ({"answers": {"body": b"nonsense"}}, "no signed policy"),
    ],
    ids=["too old", "after its certificate", "before its certificate", "garbage"],
)
def test_a_time_that_cannot_be_is_not_believed(change: dict[str, object], said: str, desk: Desk):
    """An old key of a server, a time before the floor, nonsense: no certificate is asked for, the seed stays."""
    system = card(desk)
    for name, value in change.items():
        setattr(desk, name, value)
    start = Start(system, desk)
    assert desk.asked == ["time"] and said in start.made.why
    assert raw_holds(system) and certificate(system) is None and start.store.get("time") is None


def test_a_time_signed_for_another_question_is_not_believed(desk: Desk):
    """A recorded answer does not lead back: the nonce is ours."""
    system = card(desk)
    start = Start(system, desk, online=False)
    start.made.courier(start.tell)
    start.made.turn()
    question = start.questions.pop()
    start.made.heard(desk.answer({**question, "nonce": bytes(32)}))
    assert "another question than ours" in start.made.why and certificate(system) is None


@pytest.mark.parametrize("answer", [b"", b"\x30\x00", b"x" * 5000])
def test_garbage_for_a_certificate_keeps_everything(answer: bytes, desk: Desk):
    """A body that is no certificate: one sentence, the key and the seed stay, and it is tried again later."""
    system = card(desk)
    start = Start(system, desk, online=False)
    start.made.courier(start.tell)
    start.made.turn()
    start.made.heard(desk.answer(start.questions.pop(0)))
    key = system.read(f"{HOME}/key.pem")
    desk.answers = {"body": answer}
    start.turn()
    assert "holds no certificate" in start.made.why and raw_holds(system)
    desk.answers = {}
    start.later(20)
    enrolled(system, desk)
    assert system.read(f"{HOME}/key.pem") == key
