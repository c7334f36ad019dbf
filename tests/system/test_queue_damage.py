"""Damaged segments: what is whole is read, what is not is reported, and nothing is invented."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.cose import MAX_SEQ
from agent.core.errors import Unreadable
from agent.system.queue import TRIES, Queue
from agent.system.segment import Lost, cost, segment_of
from agent.system.simulated.faults import Faulty
from agent.system.simulated.system import SimulatedSystem
from tests.system.queued import PLACE, everything, prepared, queue, row, rows, segments


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
