"""Writing where someone hostile is at work: swapped directories, planted links, curious and meddling neighbours."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent.core.errors import Failed, Unreadable
from agent.system.calls import Calls
from agent.system.door import Stat
from agent.system.real import RealSystem
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.faults import Faulty, NoSync
from tests.system.conftest import OldKernel
from tests.system.operations import fork

ROUNDS = 3000
PATIENCE = 60.0  # seconds until the other process has had its turns, on a machine where it gets few
EXCHANGE = 2
LIBRARY = ctypes.CDLL(None, use_errno=True)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one act, as an attacker would."""
    here = -100  # AT_FDCWD
    return bool(LIBRARY.renameat2(here, os.fsencode(one), here, os.fsencode(other), EXCHANGE) == 0)


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Let another process swap a directory and a link, as fast as it can."""
    parent = os.getpid()
    child = fork()
    if not child:
        try:
            while os.getppid() == parent:
                exchange(one, other)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class House:
    """A tree with a directory that an attacker swaps for a link to the outside."""

    def __init__(self, root: Path) -> None:
        self.outside = root / "outside"
        self.inside = root / "root" / "etc" / "service"
        self.trap = root / "root" / "etc" / "trap"
        self.outside.mkdir()
        self.inside.mkdir(parents=True)
        self.trap.symlink_to(self.outside)
        self.root = root / "root"

    def escaped(self) -> list[str]:
        """Return what landed outside, and tidy it away."""
        found = os.listdir(self.outside)
        for name in found:
            (self.outside / name).unlink()
        return found


@pytest.mark.parametrize("kernel", [Calls, OldKernel])
def test_no_escape_in_a_race(kernel: type[Calls], tmp_path: Path) -> None:
    """While another process swaps the directory for a link to outside, thousands of writes never land outside.

    The syncs are left out, they are not what is tried here and cost a minute.
    """
    house = House(tmp_path)
    system = RealSystem(str(house.root), NoSync(kernel(), directories=True, files=True), announce=lambda _: None)
    done = refused = k = 0
    ends = time.monotonic() + PATIENCE
    with swapping(house.inside, house.trap):
        while k < ROUNDS or (min(done, refused) <= 20 and time.monotonic() < ends):
            k += 1
            try:
                if k % 3 == 0:
                    system.append("/etc/service/list", b"x", 0o600, os.getuid(), os.getgid())
                else:
                    system.write("/etc/service/file%d" % (k % 5), b"x", 0o600, os.getuid(), os.getgid())
                done += 1
            except (Unreadable, Failed):
                refused += 1
    assert house.escaped() == []
    assert done > 20 and refused > 20, (done, refused)


def test_twin_that_opens_by_path_escapes(tmp_path: Path) -> None:
    """Known bad: the same race against a plain open (even with O_NOFOLLOW) lands outside."""
    house = House(tmp_path)
    escaped = k = 0
    ends = time.monotonic() + PATIENCE
    with swapping(house.inside, house.trap):
        while escaped <= 20 and time.monotonic() < ends:
            k += 1
            with suppress(OSError):
                os.close(os.open(house.inside / str(k % 5), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
            escaped += len(house.escaped())
    assert escaped > 20


def test_a_link_swapped_in_between_look_and_open_is_refused() -> None:
    """The file is looked at, then replaced by a link, then opened: refused, and what the link names stays as it is."""
    device = SimulatedSystem(shipped=False)
    device.edit("/outside", b"theirs", mode=0o600)
    device.edit("/srv/file", b"x")

    class Swapper(Faulty):
        """Puts a link in the place of the file right after it was looked at."""

        def look(self, directory: int, name: str) -> Stat:
            found = super().look(directory, name)
            device.hand.link("/srv/file", "/outside")
            self.fired += 1
            return found

    device.calls = swapper = Swapper(device.calls)
    with pytest.raises(Unreadable, match="a symbolic link is in the way"):
        device.own("/srv/file", 0o666, 1000, 1000)
    assert swapper.fired == 1
    assert device.stat("/outside").mode == 0o600 and device.stat("/outside").uid == 0


def test_a_planted_temporary_name_is_not_used() -> None:
    """Even an attacker who guessed the random name gains nothing: a link or file there is refused, not followed."""
    for plant in ("link", "file"):
        device = SimulatedSystem(entropy=bytes, shipped=False)
        device.edit("/outside", b"theirs")
        making = "/srv/.privet-0000000000000000.tmp"
        if plant == "link":
            device.hand.link(making, "/outside")
        else:
            device.edit(making, b"theirs", mode=0o666)
        with pytest.raises(Unreadable):
            device.write("/srv/file", b"ours", 0o600)
        assert device.read("/outside") == b"theirs" and "file" not in device.entries("/srv")


def test_secret_is_never_readable_by_others_on_the_way(tmp_path: Path) -> None:
    """At every call of writing a private file, no file with content in the directory is open to others."""
    seen: list[int] = []

    class Spy(Faulty):
        """Looks at the directory before each call."""

        def _count(self, name: str) -> None:
            super()._count(name)
            for path in tmp_path.iterdir():
                if path.stat().st_size:
                    seen.append(path.stat().st_mode & 0o077)

    RealSystem(str(tmp_path), Spy(Calls())).write("/secret", b"secret", 0o600, os.getuid(), os.getgid())
    assert len(seen) > 5 and set(seen) == {0}


def test_someone_who_writes_at_the_same_time_is_noticed() -> None:
    """Another program replaces the file between our rename and our look: Failed, and the sentence says what to do."""
    device = SimulatedSystem()
    made = SimulatedSystem().count(lambda it: it.write("/etc/file", b"ours", 0o600))

    class Intruder(Faulty):
        """Replaces the file right after our rename."""

        def rename(self, directory: int, old: str, new: str) -> None:
            super().rename(directory, old, new)
            device.edit("/etc/file", b"theirs")
            self.fired += 1

    device.calls = intruder = Intruder(device.calls)
    with pytest.raises(Failed, match="is not what was just written; find the program"):
        device.write("/etc/file", b"ours", 0o600)
    assert intruder.fired == 1 and made > 10
