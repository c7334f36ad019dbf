"""The queue's bound: the oldest goes, is counted, and what stays can still be opened."""

from pathlib import Path

import pytest

from agent.core.errors import Refused
from agent.system.ages import LONGEST, NAME, QUARTER
from agent.system.real import RealSystem
from agent.system.segment import Lost, cost, framed
from agent.system.simulated.system import SimulatedSystem
from tests.system.queued import PLACE, Card, everything, queue, row, rows, segments


@pytest.fixture(name="system", params=["real", "simulated"])
def _system(request: pytest.FixtureRequest, tmp_path: Path) -> RealSystem | SimulatedSystem:
    """The real door on a folder, then the simulated one."""
    return RealSystem(str(tmp_path)) if request.param == "real" else Card()


def test_the_bound_holds_and_the_loss_is_exact(system):
    """The oldest whole segments go, after the gap is durable; what goes and what stays make up all there was."""
    one = queue(system, limit=8000, segment=1000)
    given_up: set[int] = set()
    for first in range(1, 600, 5):
        batch = rows(1, first, first + 4)
        lost = one.make_room(cost([r.body for r in batch]))
        assert lost == one.make_room(cost([r.body for r in batch]))
        before = len(segments(system))
        one.append(batch)
        assert len(segments(system)) <= before + 1 and one.size <= 8000
        for part in lost:
            given_up |= set(range(part.first, part.last + 1))
            assert part.boot == 1 and part.count == part.last - part.first + 1
        left = [r.seq for r in everything(one)]
        assert given_up == set(range(1, left[0])) and left == list(range(left[0], first + 5))
    assert len(given_up) > 300
    assert sum(len(system.read(path)) for path in segments(system)) == one.size
    again = queue(system, limit=8000, segment=1000)
    assert again.lost == () and [r.seq for r in everything(again)] == left


def test_released_records_are_no_loss():
    """What was acknowledged before it had to go is not counted."""
    one = queue(Card(), limit=4000, segment=400)
    one.append(rows(1, 1, 60))
    one.release(1, 45)
    assert one.make_room(3500) == (Lost(boot=1, first=46, last=60, count=15),)
    one.release(1, 60)
    assert one.make_room(3500) == ()


def test_each_boot_has_a_loss_of_its_own():
    """Losses that follow each other are one; another boot's is another."""
    system = Card()
    for boot in (1, 2, 3):
        one = queue(system, limit=9000, segment=300)
        for first in range(1, 31, 3):
            one.append(rows(boot, first, first + 2))
    lost = one.make_room(7000)
    assert [(part.boot, part.first, part.last, part.count) for part in lost][:2] == [(1, 1, 30, 30), (2, 1, 30, 30)]
    assert lost[2].boot == 3


def test_without_room_nothing_is_dropped():
    """An append beyond the bound is refused and drops nothing; so is a batch that could never fit."""
    one = queue(Card(), limit=2000, segment=400)
    one.append(rows(1, 1, 30))
    with pytest.raises(Refused, match="make room"):
        one.append(rows(1, 31, 45))
    assert one.count == 30
    with pytest.raises(Refused, match="smaller"):
        one.make_room(2000)
    one.make_room(1000)
    one.append(rows(1, 31, 45))
    assert everything(one) == list(rows(1, 31, 45))


def test_every_segment_can_be_read_by_itself():
    """The key record of an epoch is sent ahead of what it opens, even when the segment it stood in is gone."""
    system = Card()
    one = queue(system, limit=6000, segment=600)
    one.append(rows(1, 1, 5, 100), opening=True)
    for first in range(6, 200, 4):
        batch = rows(1, first, first + 3)
        one.make_room(cost([r.body for r in batch]))
        one.append(batch)
    found = everything(one)
    assert found[0] == row(1, 1, 100) and found[1].seq > 100
    assert [r.seq for r in found[1:]] == list(range(found[1].seq, 202))
    assert everything(queue(system)) == found and queue(system).lost == ()
    for path in segments(system):
        assert system.read(path).startswith(framed(row(1, 1, 100)))


def test_a_new_epoch_replaces_the_copy():
    """Later segments begin with the key record of their own epoch, never with one of another boot."""
    system = Card()
    one = queue(system, segment=600)
    one.append(rows(1, 1, 8), opening=True)
    one.append(rows(1, 9, 16), opening=True)
    one.append(rows(1, 17, 24))
    names = segments(system)
    assert [system.read(path).startswith(framed(row(1, 9))) for path in names] == [False, True, True]
    one.append(rows(2, 1, 4))
    assert system.read(segments(system)[-1]).startswith(framed(row(2, 1)))


def kept(system: Card, days: int) -> list[int]:
    """Fill a queue with a record a day, in starts of 15 days; return the days that are still there."""
    one = queue(system, segment=40)
    for day in range(days):
        if day % 15 == 0:
            one = queue(system, segment=40)
            system.boot = day // 15 + 1
        batch = rows(1 + day // 15, 1 + day % 15, 1 + day % 15)
        one.make_room(cost([r.body for r in batch]))
        one.append(batch)
        system.tick(4 * QUARTER)
    return [(r.boot - 1) * 15 + r.seq - 1 for r in everything(one)]


def test_nothing_waits_longer_than_the_longest():
    """Of 200 days in 14 starts the oldest are gone; a start's last day, after its last record, is not reckoned with."""
    days = kept(Card(), 200)
    assert days == list(range(200 - LONGEST // 4 - 14, 200))


def test_no_clock_that_jumps_makes_records_old():
    """Ten years forward and back: by the time that the device ran nothing is old, so nothing goes."""
    system = Card()
    one = queue(system, segment=40)
    one.append(rows(1, 1, 3))
    for years in (10, -20, 10):
        system.wall += years * 365 * 86400
        assert one.make_room(100) == ()
        one = queue(system, segment=40)
    system.tick(4 * QUARTER * 400)
    lost = one.make_room(100)
    assert [(part.first, part.last, part.count) for part in lost] == [(1, 3, 3)]


def test_damage_of_the_ages_makes_nothing_old():
    """A damaged file of ages makes nothing old; erasing takes it away."""
    system = Card()
    one = queue(system, segment=40)
    one.append(rows(1, 1, 3))
    system.tick(4 * QUARTER * 179)
    assert one.make_room(100) == ()
    assert NAME in system.entries(PLACE)
    system.edit(f"{PLACE}/{NAME}", b"\xff" * 25)
    again = queue(system, segment=40)
    system.tick(4 * QUARTER * 100)
    assert again.make_room(100) == ()
    again.erase()
    assert system.entries(PLACE) == ()
