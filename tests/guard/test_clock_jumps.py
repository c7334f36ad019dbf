"""A clock that jumps ten years, ahead or back: no reading is lost, no leave lasts longer, no consent ends."""

from typing import Any

import pytest

from agent.core.clock import Clock
from agent.core.telemetry import Sample
from agent.guard.callers import Caller
from agent.guard.hold import Hold
from agent.system.queue import START
from tests.guard.conftest import Kept

DAY = 86400
YEARS = 10 * 365 * DAY
JUMPS = pytest.mark.parametrize("jump", [YEARS, -YEARS], ids=["ten years ahead", "ten years back"])


@pytest.fixture
def used(kept: Kept) -> Kept:
    """A device whose owner agreed to readings of the room, of which some wait."""
    kept.turn()
    kept.agree("climate")
    measure(kept, 6)
    return kept


def measure(kept: Kept, count: int) -> None:
    """Hand in readings as a program does, one every six minutes."""

    def told(failure: Any) -> None:
        assert failure is None, failure

    for number in range(count):
        kept.house.outbox.take([Sample(name="temperature", number=str(18 + number), at=kept.system.wall)], told)
        kept.house.outbox.flush()
        kept.system.tick(360)
        kept.turn()


def rows(kept: Kept) -> list[tuple[int, int]]:
    """Name the records that wait."""
    lane = kept.house.outbox.lanes["climate"]
    return [(row.boot, row.seq) for row in lane.queue.pending(START, 9999)]


def gone(kept: Kept) -> int:
    """Return how many records were given up."""
    return kept.house.outbox.lanes["climate"].dropped


@JUMPS
def test_no_reading_that_waits_is_dropped(used: Kept, jump: int) -> None:
    """Through the jump, days on the wrong clock, a restart, and the jump back: what waited waits, none is given up."""
    before = rows(used)
    assert before
    used.system.wall += jump
    measure(used, 3)
    for _ in range(3):
        used.system.tick(DAY)
        used.turn()
    used.reboot()
    used.turn()
    measure(used, 3)
    used.system.wall -= jump
    for _ in range(3):
        used.system.tick(DAY)
        used.turn()
    measure(used, 3)
    used.reboot()
    now = rows(used)
    assert now[: len(before)] == before
    assert len(now) > len(before) + 6, "and on every clock new ones are taken"
    assert gone(used) == 0


def test_what_really_waited_for_half_a_year_goes(used: Kept) -> None:
    """The known-bad twin: the limit is real, and counts the time that the device ran, whatever its clock says."""
    before = rows(used)
    used.system.tick(181 * DAY)
    used.system.wall -= 181 * DAY
    measure(used, 1)
    assert not set(rows(used)) & set(before)
    assert gone(used) >= len(before)


@JUMPS
def test_what_is_held_for_its_moment_still_leaves(used: Kept, jump: int) -> None:
    """Sealed on the wrong clock, a record waits for no moment that lies years ahead once the clock is right."""
    hold = Hold(3600, "d1", "climate", used.system.boot)
    used.system.wall += jump
    hold.sealed((used.system.boot, 1), used.system.wall, figures=False)
    used.system.wall -= jump
    hold.sealed((used.system.boot, 2), used.system.wall, figures=False)
    assert hold.left(used.system.wall) <= 3600
    assert hold.gate(used.system.wall + 3600) == (used.system.boot, 2)


@JUMPS
def test_consent_is_not_ended_and_a_new_answer_counts(used: Kept, jump: int) -> None:
    """What was agreed to stays so; taken back on the wrong clock it is off, given again on the right one it is on."""
    used.system.wall += jump
    used.turn()
    used.reboot()
    assert standing(used) == "given"
    used.ask("consent", purpose="climate", state="withdrawn")
    assert standing(used) == "withdrawn"
    used.system.wall -= jump
    used.turn()
    assert standing(used) == "withdrawn"
    used.agree("climate")
    assert standing(used) == "given"
    measure(used, 2)
    assert rows(used)


def standing(kept: Kept) -> str:
    """Say how the purpose stands."""
    return str(next(row["state"] for row in kept.ask("notice")["purposes"] if row["purpose"] == "climate"))


@pytest.mark.parametrize("restart", [False, True], ids=["it runs on", "over a restart"])
def test_a_leave_never_lasts_longer_than_it_ran(used: Kept, restart: bool) -> None:
    """On a clock ten years back it ends after its seconds of running all the same, and says so at most once."""
    used.loosen("ssh.password", "yes", 2 * 3600)
    assert used.status("ssh.password") == "waived"
    used.system.wall -= YEARS
    used.turn()
    if restart:
        used.reboot()
        used.turn()
    assert used.status("ssh.password") == "waived"
    used.system.tick(2 * 3600 + 60)
    used.turn()
    assert used.status("ssh.password") == "ok"
    used.system.wall += YEARS
    used.turn()
    assert used.status("ssh.password") == "ok"


def test_a_leave_that_a_clock_ahead_ended_does_not_come_back(used: Kept) -> None:
    """Ten years ahead its end has come by the wall: private at once, told, and so it stays when the clock is right."""
    used.loosen("ssh.password", "yes", 2 * 3600)
    used.system.wall += YEARS
    used.system.tick(301)
    used.turn()
    assert used.status("ssh.password") == "ok"
    used.system.wall -= YEARS
    used.reboot()
    used.turn()
    assert used.status("ssh.password") == "ok"
    assert used.house.books.waivers == ()


@JUMPS
def test_a_role_and_the_policy_outlast_it(used: Kept, jump: int) -> None:
    """The policy in force counts on (its end keeps new ones out, not the old one off), and so does who may do what."""
    sequence = used.house.rules.policy
    used.system.wall += jump
    used.system.tick(301)
    used.turn()
    used.reboot()
    assert used.house.rules.policy == sequence
    assert used.house.acts.perform(Caller(name="anna", role="owner"), {"op": "status"})["findings"]
    used.system.wall -= jump
    used.turn()
    clock: Clock = used.system.clock()
    assert used.house.rules.now(clock) == max(clock.wall, used.house.rules.least(clock).wall)
