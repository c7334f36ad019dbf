"""The queue under power cuts, death and failing disks: what was reported safe is there."""

import errno

import pytest

from agent.core.errors import PrivetError, Refused, Unreadable
from agent.system.segment import Lost, Row, cost
from agent.system.simulated.faults import Faulty, NoSync, failing
from agent.system.simulated.system import SimulatedSystem
from tests.system.queued import everything, prepared, queue, row, rows, segments

CUTS = ("all", "none", "torn")


def scenario(system: SimulatedSystem, safe: list[Row], dropped: list[Lost]) -> None:
    """Work as a guard does; `safe` is what was reported durable and not let go, as a guard knows it."""
    one = queue(system, limit=1000, segment=160)
    for first in range(1, 25, 3):
        batch = rows(1, first, first + 2)
        lost = one.make_room(cost([r.body for r in batch]))
        safe[:] = [r for r in safe if not any(part.first <= r.seq <= part.last for part in lost)]
        one.append(batch, opening=first == 1)
        safe.extend(batch)
        dropped.extend(lost)
        if first == 13:
            safe[:] = [r for r in safe if r.seq > 4]
            one.release(1, 4)


def survives(system: SimulatedSystem, safe: list[Row]) -> bool:
    """Say whether a restarted queue has all that was safe, whole and in order, and works on."""
    one = queue(system, limit=1000, segment=160)
    found = everything(one)
    if [r for r in found if r in safe] != safe or any(r != row(r.boot, r.seq) for r in found):
        return False
    names = [(r.boot, r.seq) for r in found]
    one.make_room(200)
    one.append(rows(2, 1, 2))
    return names == sorted(set(names)) and everything(one)[-2:] == list(rows(2, 1, 2))


def calls_of_scenario() -> int:
    """How many calls the scenario makes; it has segments released and segments dropped."""
    dropped: list[Lost] = []
    total = prepared().count(lambda system: scenario(system, [], dropped))
    assert dropped and total > 100
    return total


@pytest.mark.parametrize("lose", CUTS)
def test_power_cut_at_every_call(lose):
    """Power goes in place of each call in turn: every record that was reported safe is there, whole, once, in order."""
    total, fired = calls_of_scenario(), 0
    for k in range(1, total + 1):
        system, safe = prepared(), []
        fired += system.kill_at(k, lambda device, safe=safe: scenario(device, safe, []), lose)
        assert survives(system, safe), k
    assert fired == total


def test_death_at_every_call():
    """The process dies in place of each call in turn, the device goes on: the same holds."""
    total, fired = calls_of_scenario(), 0
    for k in range(1, total + 1):
        system, safe = prepared(), []
        fired += system.die_at(k, lambda device, safe=safe: scenario(device, safe, []))
        assert survives(system, safe), k
    assert fired == total


@pytest.mark.parametrize(("directories", "files"), [(True, False), (False, True)])
def test_the_twins_without_sync_lose(directories, files):
    """Known bad: leave out the directory's fsync, or the file's, and a cut after the last call loses safe records."""
    system = prepared()
    system.calls = twin = NoSync(system.calls, directories=directories, files=files)
    safe: list[Row] = []
    scenario(system, safe, [])
    system.calls = twin.inner
    system.crash("all")
    assert twin.fired > 2
    assert not survives(system, safe)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EINTR])
def test_a_failing_call_loses_nothing(code):
    """Each call in turn fails once: an append says so or succeeds; the same batch appended again is there once."""
    k, fired, said = 0, 0, 0
    while k == fired:
        k += 1
        system = prepared()
        system.calls = faulty = Faulty(system.calls, k, failing(code))
        try:
            one = queue(system, segment=200)
        except PrivetError:
            said, fired = said + 1, fired + faulty.fired
            continue
        for first in range(1, 13, 3):
            try:
                one.append(rows(1, first, first + 2))
            except PrivetError:
                said += 1
                one.append(rows(1, first, first + 2))
        fired += faulty.fired
        system.calls = faulty.inner
        assert everything(one) == list(rows(1, 1, 12))
        system.crash("all")
        assert everything(queue(system)) == list(rows(1, 1, 12)), k
    assert fired > 50 and (said > 30 or code == errno.EINTR)


def test_short_writes_are_continued():
    """The system takes three bytes at a time: all arrive."""
    system = prepared()
    system.calls = faulty = Faulty(system.calls, most=3)
    queue(system).append(rows(1, 1, 20))
    system.calls = faulty.inner
    system.crash("all")
    assert faulty.fired > 100 and everything(queue(system)) == list(rows(1, 1, 20))


@pytest.mark.parametrize("room", range(0, 400, 37))
def test_a_full_disk_is_told_and_passes(room):
    """When the disk fills up within a batch, it is an error, nothing half is kept, and with room it goes on."""
    system = prepared()
    one = queue(system, segment=300)
    one.append(rows(1, 1, 3))
    system.disk.capacity = system.disk.used() + room
    with pytest.raises(Unreadable, match="disk is full; "):
        one.append(rows(1, 4, 20))
    assert everything(one) == list(rows(1, 1, 3))
    system.disk.capacity = None
    one.append(rows(1, 4, 20))
    system.crash("all")
    assert everything(queue(system)) == list(rows(1, 1, 20))


def test_a_failed_append_gives_nothing_up():
    """The gap of what was to go stood in the batch that failed: so nothing goes, and room is announced again."""
    system = prepared()
    one = queue(system, limit=3000, segment=500)
    for first in range(1, 33, 4):
        one.append(rows(1, first, first + 3))
    lost = one.make_room(1800)
    assert lost
    system.disk.read_only = True
    with pytest.raises(Unreadable, match="read-only"):
        one.append(rows(1, 33, 40))
    assert everything(one) == list(rows(1, 1, 32))
    with pytest.raises(Refused, match="make room"):
        one.append(rows(1, 33, 60))
    system.disk.read_only = False
    assert one.make_room(1800) == lost
    one.append(rows(1, 33, 40))
    assert everything(one)[0].seq == lost[-1].last + 1


def test_a_read_only_card_can_still_be_read():
    """What is kept is sent although nothing can be written or deleted; deleting is made up for later."""
    system = prepared()
    one = queue(system, segment=300)
    for first in range(1, 40, 4):
        one.append(rows(1, first, first + 3))
    system.disk.read_only = True
    assert everything(one) == list(rows(1, 1, 40))
    files = len(segments(system))
    one.release(1, 20)
    assert len(segments(system)) == files and everything(one) == list(rows(1, 21, 40))
    system.disk.read_only = False
    one.release(1, 20)
    assert len(segments(system)) < files
