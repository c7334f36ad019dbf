"""The queue: what was accepted is there, what was lost is counted, whatever happens to power, disk and files."""

import errno
import json
import os
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.cose import MAX_SEQ
from agent.core.errors import PrivetError, Refused, Unreadable
from agent.system.calls import Calls
from agent.system.door import System
from agent.system.queue import BATCH, START, TRIES, Place, Queue
from agent.system.real import RealSystem
from agent.system.segment import HEAD, Lost, Row, cost, framed, segment_of
from agent.system.simulated.faults import Faulty, NoSync, failing
from agent.system.simulated.system import SimulatedSystem

PLACE = "/var/lib/privet/queue/comfort"
OWNER = (os.getuid(), os.getgid())
CUTS = ("all", "none", "torn")


class Card(SimulatedSystem):
    """A simulated device without programs, quick to make: its disk alone matters here."""

    def _each_program(self, act: str) -> None:
        """There is none."""


def row(boot: int, seq: int, size: int = 30) -> Row:
    """A record whose body says which it is."""
    return Row(boot=boot, seq=seq, body=cbor2.dumps([boot, seq, bytes([seq % 256]) * size]))


def rows(boot: int, first: int, last: int, size: int = 30) -> tuple[Row, ...]:
    """Records of a boot."""
    return tuple(row(boot, seq, size) for seq in range(first, last + 1))


def queue(system: System, limit: int = 1 << 20, segment: int = 512) -> Queue:
    """The queue under test, with small segments so that little makes many."""
    return Queue(system, PLACE, limit, segment, OWNER)


def everything(one: Queue, some: int = 7) -> list[Row]:
    """Read the whole queue as a guard does after a reconnection."""
    found: list[Row] = []
    after: Place = START
    while part := one.pending(after, some):
        assert len(part) <= some
        found += part
        after = (part[-1].boot, part[-1].seq)
    return found


def segments(system: System) -> list[str]:
    """The files of the queue."""
    return [PLACE + "/" + name for name in system.entries(PLACE)]


@pytest.fixture(name="system", params=["real", "simulated"])
def _system(request: pytest.FixtureRequest, tmp_path: Path) -> RealSystem | SimulatedSystem:
    """The real door on a folder, then the simulated one."""
    return RealSystem(str(tmp_path)) if request.param == "real" else Card()


def test_records_come_back_in_order(system):
    """Batches of several boots are pending in order, before and after a restart, as many at a time as asked for."""
    one = queue(system)
    for first in range(1, 61, 6):
        one.append(rows(1, first, first + 5))
    assert len(segments(system)) > 3
    assert everything(one) == list(rows(1, 1, 60)) and one.count == 60
    again = queue(system)
    again.append(rows(2, 1, 10))
    assert everything(again) == [*rows(1, 1, 60), *rows(2, 1, 10)]
    assert again.pending((1, 30), 2) == rows(1, 31, 32) and again.pending((2, 10)) == ()
    assert again.lost == () and again.size == sum(len(system.read(path)) for path in segments(system))
    for path in segments(system):
        assert (system.stat(path).mode, system.stat(PLACE).mode) == (0o600, 0o700)


def test_only_an_acknowledgement_of_its_own_boot_lets_go(system):
    """Releasing deletes whole segments of that boot alone; what is released is not sent again."""
    one = queue(system)
    one.append(rows(1, 1, 40))
    again = queue(system)
    for first in (1, 11, 21):
        again.append(rows(2, first, first + 9))
    again.release(2, 15)
    assert everything(again) == [*rows(1, 1, 40), *rows(2, 16, 30)] and again.count == 55
    again.release(2, 5)
    assert again.count == 55
    again.release(1, 39)
    assert everything(again) == [row(1, 40), *rows(2, 16, 30)]
    again.release(1, 40)
    again.release(2, 30)
    assert everything(again) == [] and again.count == 0 and len(segments(system)) == 1
    again.append(rows(2, 31, 31))
    assert everything(again) == [row(2, 31)]
    third = queue(system)
    assert everything(third)[-1] == row(2, 31) and third.lost == ()
    third.release(2, 31)
    assert segments(system) == []


def test_reading_goes_on_while_the_queue_grows(system):
    """Records appended after reading stopped at the end of a segment are found from there."""
    one = queue(system, segment=100_000)
    after: Place = START
    for seq in range(1, 30):
        one.append([row(3, seq)])
        (found,) = one.pending(after)
        assert found == row(3, seq)
        after = (3, seq)


ACTS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "release", "restart"]), st.integers(1, 12), st.integers(0, 300)),
    max_size=25,
)


@given(ACTS)
def test_nothing_is_lost_or_invented(acts):
    """After any acts the queue holds all that was not released, byte for byte, and nothing that never was."""
    system = Card()
    one, boot, seq = queue(system), 1, 0
    kept: list[Row] = []
    known: list[Row] = []
    for act, count, size in acts:
        if act == "append":
            batch = rows(boot, seq + 1, seq + count, size)
            one.append(batch)
            seq += count
            kept += batch
            known += batch
        elif act == "release" and kept:
            place = kept[min(count, len(kept)) - 1]
            one.release(place.boot, place.seq)
            kept = [r for r in kept if r.boot != place.boot or r.seq > place.seq]
        elif act == "restart":
            system.restart()
            one, boot, seq = queue(system), boot + 1, 0
            assert one.lost == ()
        found = everything(one)
        assert [r for r in found if r in kept] == kept and all(r in known for r in found)
        assert len(found) == one.count


# -- bounds


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


@pytest.mark.parametrize(
    "batch",
    [
        (row(1, 5), row(1, 5)),
        (row(1, 6), row(1, 5)),
        (row(1, 4),),
        (row(0, 9),),
        (row(2, 1), row(3, 1)),
        (row(2, 1, 300_000),),
        rows(2, 1, 6, 200_000),
    ],
)
def test_disorder_is_refused(batch):
    """Doubled, falling or mixed numbers and batches out of measure are refused; nothing is written."""
    system = Card()
    one = queue(system, limit=8 * BATCH)
    one.append(rows(1, 1, 4))
    size = one.size
    with pytest.raises(Refused):
        one.append(batch)
    assert one.size == size and queue(system).size == size and everything(one) == list(rows(1, 1, 4))


# -- key records


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


# -- power, death and disks


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


def prepared() -> SimulatedSystem:
    """A device whose directories are there since long ago."""
    system = Card()
    system.make_directory(PLACE, 0o700, *OWNER)
    return system


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


# -- damaged files


def filled(system: SimulatedSystem) -> None:
    """Lay three segments of four records."""
    one = queue(system, segment=250)
    for first in (1, 5, 9):
        one.append(rows(1, first, first + 3))
    assert len(segments(system)) == 3


def lost_of(one: Queue) -> list[int]:
    """The numbers reported as lost."""
    return [seq for part in one.lost for seq in range(part.first, min(part.last, 20) + 1)]


def test_every_changed_byte_costs_one_record_and_is_reported():
    """Whichever byte rots, only its record is gone; it is reported, unless it was the last, as a torn end is."""
    system = prepared()
    filled(system)
    for path in segments(system):
        whole = system.read(path)
        for place in range(len(whole)):
            changed = bytearray(whole)
            changed[place] ^= 0x40
            system.edit(path, bytes(changed))
            one = queue(system, segment=250)
            left = [r.seq for r in everything(one)]
            assert len(left) == 11 and all(r == row(1, r.seq) for r in everything(one))
            assert lost_of(one) == [seq for seq in range(1, 13) if seq not in left and seq != 12]
            system.edit(path, whole)


def test_every_cut_end_is_the_end():
    """A newest segment cut anywhere has its whole records; nothing is reported, for nobody was told they were safe."""
    system = prepared()
    filled(system)
    path = segments(system)[-1]
    whole = system.read(path)
    for size in range(len(whole)):
        system.edit(path, whole[:size])
        one = queue(system, segment=250)
        left = [r.seq for r in everything(one)]
        assert left == list(range(1, 9 + size // (len(whole) // 4))) and one.lost == ()
        one.append(rows(2, 1, 1))
        assert everything(one)[-1] == row(2, 1)
        one.release(2, 1)
        queue(system).release(2, 1)
        system.edit(path, whole)


def test_a_missing_segment_is_a_hole():
    """A segment that somebody removed is reported; other files in the folder are left alone."""
    system = prepared()
    filled(system)
    system.edit(PLACE + "/notes.txt", b"mine")
    system.edit(PLACE + "/00000001-zz.seg", b"mine")
    system.remove(PLACE + "/00000001-0000000000000005.seg")
    one = queue(system)
    assert one.lost == (Lost(boot=1, first=5, last=8, count=4),)
    assert system.read(PLACE + "/notes.txt") == b"mine" and segment_of("00000001-000000000000000g.seg") is None


class Blind(Faulty):
    """Calls that cannot read one file."""

    name = ""

    def open(self, directory: int | None, name: str, flags: int, mode: int = 0) -> int:
        """Open, but not that."""
        return super().open(directory, self._refuse(name), flags, mode)

    def follow(self, root: str, path: str, flags: int) -> int:
        """Open, but not that."""
        return super().follow(root, self._refuse(path), flags)

    def _refuse(self, path: str) -> str:
        """Fail as a bad sector does."""
        if self.name and path.endswith(self.name):
            self.fired += 1
            raise OSError(errno.EIO, "bad sector", path)
        return path


@pytest.mark.parametrize(
    ("which", "lost"),
    [
        (0, Lost(boot=1, first=1, last=4, count=4)),
        (1, Lost(boot=1, first=5, last=8, count=4)),
        (2, Lost(boot=1, first=9, last=MAX_SEQ, count=0)),
    ],
)
def test_an_unreadable_segment_is_a_hole(which, lost):
    """A bad sector costs its segment: the hole is exact, or open where nothing says how far it went."""
    system = prepared()
    filled(system)
    system.calls = blind = Blind(system.calls)
    blind.name = segments(system)[which].rpartition("/")[2]
    one = queue(system)
    assert blind.fired == 1 and one.lost == (lost,)
    assert len(everything(one)) == 8


def test_the_end_of_an_older_boot_that_is_unreadable_is_an_open_hole():
    """Nothing says how far the older boot went; the newer one is not touched by that."""
    system = prepared()
    filled(system)
    queue(system).append(rows(2, 1, 3))
    system.calls = blind = Blind(system.calls)
    blind.name = "00000001-0000000000000009.seg"
    one = queue(system)
    assert one.lost == (Lost(boot=1, first=9, last=MAX_SEQ, count=0),)
    assert everything(one) == [*rows(1, 1, 8), *rows(2, 1, 3)]


def test_a_segment_with_nothing_of_its_own_is_removed():
    """A cut can leave a segment with the copy of a key record and no more: it is nothing."""
    system = prepared()
    one = queue(system, segment=100)
    one.append(rows(1, 1, 3), opening=True)
    one.append(rows(1, 4, 6))
    path = segments(system)[1]
    system.edit(path, system.read(path)[: cost([row(1, 1).body]) + 30])
    assert everything(queue(system)) == list(rows(1, 1, 3)) and len(segments(system)) == 1


class Stuck(Faulty):
    """A disk that fills up, and on which not even the half that was written can be taken back."""

    def datasync(self, number: int) -> None:
        """Fail."""
        self.fired += 1
        raise OSError(errno.EIO, "bad sector")

    def truncate(self, number: int, size: int) -> None:
        """Fail."""
        self.fired += 1
        raise OSError(errno.EIO, "bad sector")


def test_behind_a_doubtful_end_nothing_is_written():
    """After an append of which anything may have stayed, and after a restart, the next batch has a file of its own."""
    system = prepared()
    one = queue(system, segment=4000)
    one.append(rows(1, 1, 3))
    kind, system.calls = system.calls, Stuck(system.calls)
    with pytest.raises(Unreadable):
        one.append(rows(1, 4, 6))
    assert isinstance(system.calls, Stuck) and system.calls.fired == 2
    system.calls = kind
    one.append(rows(1, 4, 6))
    assert len(segments(system)) == 2 and everything(one) == list(rows(1, 1, 6))
    again = queue(system, segment=4000)
    again.append(rows(1, 7, 9))
    assert len(segments(system)) == 3 and everything(again) == list(rows(1, 1, 9)) and again.lost == ()
    system.crash("all")
    assert everything(queue(system)) == list(rows(1, 1, 9))


def test_a_segment_that_becomes_unreadable_is_announced():
    """Found while sending: its records are skipped and announced with the next room; then they are forgotten."""
    system = prepared()
    filled(system)
    system.calls = blind = Blind(system.calls)
    one = queue(system)
    blind.name = segments(system)[1].rpartition("/")[2]
    for _ in range(TRIES - 1):
        assert [r.seq for r in one.pending()] == [1, 2, 3, 4] and one.make_room(100) == ()
    blind.name, name = "", blind.name
    assert everything(one) == list(rows(1, 1, 12))
    blind.name = name
    for _ in range(TRIES - 1):
        assert [r.seq for r in one.pending()] == [1, 2, 3, 4]
    assert [r.seq for r in one.pending()] == [1, 2, 3, 4, 9, 10, 11, 12]
    lost = one.make_room(100)
    assert blind.fired == 2 * TRIES - 1 and lost == (Lost(boot=1, first=5, last=8, count=4),)
    system.disk.read_only = True
    with pytest.raises(Unreadable):
        one.append(rows(2, 1, 1))
    system.disk.read_only = False
    assert one.make_room(100) == lost
    one.append(rows(2, 1, 1))
    assert one.make_room(100) == ()


@given(st.binary(max_size=400))
def test_files_of_anybody_do_no_harm(content):
    """Whatever stands in a segment's place, the queue opens and works."""
    system = prepared()
    system.edit(PLACE + "/00000001-0000000000000001.seg", content)
    one = queue(system)
    assert everything(one) == [] or content
    one.append(rows(2, 1, 3))
    assert everything(one)[-3:] == list(rows(2, 1, 3))


def test_erasing_leaves_nothing(system):
    """After erasing there is no file; the queue can be used on."""
    one = queue(system)
    for first in range(1, 40, 4):
        one.append(rows(1, first, first + 3))
    one.erase()
    assert segments(system) == [] and one.count == one.size == 0 and everything(one) == []
    one.append(rows(1, 41, 42))
    assert everything(one) == list(rows(1, 41, 42))


# -- light


class Counting(Calls):
    """The real calls, with the bytes written and the syncs counted."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.synced = 0

    def write(self, number: int, content: memoryview) -> int:
        """Write and count."""
        taken = super().write(number, content)
        self.written += taken
        return taken

    def datasync(self, number: int) -> None:
        """Sync and count."""
        self.synced += 1
        super().datasync(number)

    def fsync(self, number: int) -> None:
        """Sync and count."""
        self.synced += 1
        super().fsync(number)


def batches(count: int) -> Iterator[tuple[Row, ...]]:
    """Batches of ten records of 3 KB, as a hundred readings each make them."""
    for first in range(1, count * 10, 10):
        yield rows(1, first, first + 9, 3000)


def test_what_is_written_is_little_more_than_the_payload(tmp_path):
    """One sync for a batch, one more for a new segment, and at most two bytes in a hundred beside the bodies."""
    counting = Counting()
    system = RealSystem(str(tmp_path), counting)
    one = Queue(system, PLACE, 64 << 20, owner=OWNER)
    counting.written = counting.synced = payload = 0
    for batch in batches(60):
        one.append(batch, opening=payload == 0)
        payload += sum(len(r.body) for r in batch)
    assert payload < counting.written < payload * 1.02
    assert counting.synced <= 60 + len(segments(system)) + 1


def test_memory_does_not_grow_with_the_queue(tmp_path):
    """Megabytes pass through while memory holds a line per segment and one segment at a time."""
    system = RealSystem(str(tmp_path))
    one = Queue(system, PLACE, 64 << 20, owner=OWNER)
    tracemalloc.start()
    try:
        for batch in batches(150):
            one.append(batch)
        after: Place = START
        while part := one.pending(after):
            after = (part[-1].boot, part[-1].seq)
        del part
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert one.size > 4_400_000 and after == (1, 1500)
    assert now < 200_000 and peak < 2_000_000


def test_a_frame_is_the_one_of_the_format():
    """Length, crc, boot, seq, body: twenty bytes before each body."""
    size, name, body = bytes.fromhex("00000004"), bytes.fromhex("000000010000000000000002"), b"body"
    assert (
        framed(Row(boot=1, seq=2, body=body)) == size + zlib.crc32(size + name + body).to_bytes(4, "big") + name + body
    )
    assert cost([b"body", b""]) == 4 + 2 * HEAD


def test_the_known_segment_is_read(system):
    """A segment written by other code from the format is a queue."""
    known = json.loads((Path(__file__).resolve().parents[1] / "vectors/sealed.json").read_text())
    system.make_directory(PLACE, 0o700, *OWNER)
    system.write(PLACE + "/" + known["segment"]["name"], bytes.fromhex(known["segment"]["content"]), 0o600, *OWNER)
    telemetry = known["telemetry"]
    assert [(r.boot, r.seq, r.body.hex()) for r in everything(queue(system))] == [
        (7, telemetry["key"]["seq"], telemetry["key"]["body"]),
        (7, telemetry["records"][0]["seq"], telemetry["records"][0]["body"]),
    ]
