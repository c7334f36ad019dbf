"""Watching directories: the same events from the real kernel and from the simulated one."""

import errno
import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Unreadable
from agent.system.calls import Calls
from agent.system.door import Watch
from agent.system.real import RealSystem
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.notify import SimulatedNotify
from agent.system.watch import DirectoryWatch
from tests.system.conftest import Bench, on_real, on_simulated


class Yard(Bench):
    """A bench that can also move and discard."""

    move: Callable[[str, str], None]
    discard: Callable[[str], None]


@pytest.fixture(params=["real", "simulated"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Yard:
    """Give each system in turn."""
    made = on_real(tmp_path, Calls()) if request.param == "real" else on_simulated(True)
    yard = Yard(made.system, made.foreign, made.link, made.keep, made.hard_link)
    if isinstance(made.system, SimulatedSystem):
        yard.move, yard.discard = made.system.hand.move, made.system.hand.discard
    else:

        def move(path: str, name: str) -> None:
            place = Path(str(tmp_path) + path)
            place.rename(place.parent / name)

        def discard(path: str) -> None:
            place = Path(str(tmp_path) + path)
            if place.is_dir():
                for below in place.iterdir():
                    discard(path + "/" + below.name)
                place.rmdir()
            else:
                place.unlink()

        yard.move, yard.discard = move, discard
    return yard


def waits(watch: Watch) -> bool:
    """Say whether the descriptor says that events wait."""
    return bool(select.select([watch.fileno()], [], [], 0)[0])


def test_every_kind_of_change_is_seen(yard: Yard) -> None:
    """Made, edited, replaced, moved away, new rights, removed: each names the file; silence else."""
    yard.foreign("/etc/here/file", b"x")
    watch = yard.system.watch(["/etc/here"])
    changes: tuple[tuple[str, Callable[[], object]], ...] = (
        ("file", lambda: yard.foreign("/etc/here/file", b"edited")),
        ("new", lambda: yard.foreign("/etc/here/new", b"")),
        ("new", lambda: yard.system.write("/etc/here/new", b"replaced", 0o644, yard.uid, yard.gid)),
        ("new", lambda: yard.system.own("/etc/here/new", 0o600, yard.uid, yard.gid)),
        ("new", lambda: yard.system.append("/etc/here/new", b"more", 0o600, yard.uid, yard.gid)),
        ("new", lambda: yard.move("/etc/here/new", "old")),
        ("old", lambda: yard.discard("/etc/here/old")),
        ("way", lambda: yard.link("/etc/here/way", "file")),
    )
    for name, change in changes:
        assert not waits(watch) and watch.events() == ()
        change()
        assert waits(watch)
        assert ("/etc/here", name) in watch.events(), name
        assert watch.events() == () and not waits(watch)
    watch.close()


def test_other_directories_are_silent(yard: Yard) -> None:
    """What happens elsewhere, or deeper, is not reported."""
    yard.foreign("/etc/here/below/file", b"x")
    yard.foreign("/etc/there/file", b"x")
    watch = yard.system.watch(["/etc/here"])
    yard.foreign("/etc/there/file", b"y")
    yard.foreign("/etc/here/below/file", b"y")
    assert watch.events() == ()
    watch.close()


def test_our_own_unfinished_files_are_silent(yard: Yard) -> None:
    """A durable write shows as the one file it changes."""
    yard.foreign("/etc/here/file", b"x")
    watch = yard.system.watch(["/etc/here"])
    yard.system.write("/etc/here/file", b"y", 0o644, yard.uid, yard.gid)
    assert watch.events() == (("/etc/here", "file"),)
    watch.close()


def test_the_root_can_be_watched(yard: Yard) -> None:
    """The root is a directory as any."""
    watch = yard.system.watch(["/"])
    yard.foreign("/file", b"x")
    assert watch.events() == (("/", "file"),)
    watch.close()


def test_a_missing_directory_is_watched_when_it_comes(yard: Yard) -> None:
    """The nearest parent tells that it came, all of its content is in doubt; from then on its files are reported."""
    yard.foreign("/etc/other", b"x")
    watch = yard.system.watch(["/etc/far/below"])
    yard.foreign("/etc/other", b"y")
    assert watch.events() == ()
    yard.foreign("/etc/far/other", b"x")
    assert watch.events() == ()
    yard.foreign("/etc/far/below/file", b"x")
    assert watch.events() == (("/etc/far/below", ""),)
    yard.foreign("/etc/far/below/file", b"y")
    assert watch.events() == (("/etc/far/below", "file"),)
    watch.close()


def test_a_directory_that_comes_all_at_once(yard: Yard) -> None:
    """Several missing levels made in one go: still found."""
    yard.foreign("/etc/other", b"x")
    watch = yard.system.watch(["/etc/a/b/c/d"])
    yard.foreign("/etc/a/b/c/d/file", b"x")
    assert watch.events() == (("/etc/a/b/c/d", ""),)
    yard.foreign("/etc/a/b/c/d/file", b"y")
    assert watch.events() == (("/etc/a/b/c/d", "file"),)
    watch.close()


def test_removed_and_made_again(yard: Yard) -> None:
    """A watched directory goes and comes back: both are told, and it is watched again."""
    yard.foreign("/etc/here/file", b"x")
    watch = yard.system.watch(["/etc/here"])
    yard.discard("/etc/here")
    assert ("/etc/here", "") in watch.events()
    yard.foreign("/etc/here/file", b"x")
    assert ("/etc/here", "") in watch.events()
    yard.foreign("/etc/here/file", b"y")
    assert watch.events() == (("/etc/here", "file"),)
    watch.close()


def test_moved_away_and_replaced(yard: Yard) -> None:
    """A watched directory is moved and another put in its place: in doubt, and the new one is watched, not the old."""
    yard.foreign("/etc/here/file", b"x")
    yard.foreign("/etc/next/file", b"x")
    watch = yard.system.watch(["/etc/here"])
    yard.move("/etc/here", "gone")
    yard.move("/etc/next", "here")
    assert ("/etc/here", "") in watch.events()
    yard.foreign("/etc/gone/file", b"y")
    assert watch.events() == ()
    yard.foreign("/etc/here/file", b"y")
    assert watch.events() == (("/etc/here", "file"),)
    watch.close()


def test_one_directory_wanted_by_two_names(yard: Yard) -> None:
    """A directory reached by two paths is reported for both."""
    yard.foreign("/etc/here/file", b"x")
    yard.link("/etc/way", "here")
    watch = yard.system.watch(["/etc/here", "/etc/way"])
    yard.foreign("/etc/here/file", b"y")
    assert set(watch.events()) == {("/etc/here", "file"), ("/etc/way", "file")}
    watch.close()


def test_more_can_be_added(yard: Yard) -> None:
    """Directories can be added later; twice is once; a relative one is refused."""
    yard.foreign("/etc/here/file", b"x")
    watch = yard.system.watch([])
    watch.add(["/etc/here", "/etc/here/"])
    watch.add(["/etc/here"])
    yard.foreign("/etc/here/file", b"y")
    assert watch.events() == (("/etc/here", "file"),)
    with pytest.raises(BadInput):
        watch.add(["here"])
    watch.close()


def test_overflow_puts_everything_in_doubt() -> None:
    """When the kernel dropped events, everything is in doubt, and watching goes on."""
    device = SimulatedSystem()
    device.edit("/etc/here/file", b"x")
    watch = DirectoryWatch(SimulatedNotify(device.disk, room=4), ["/etc/here"])
    for number in range(10):
        device.edit("/etc/here/file%d" % number, b"x")
    assert ("", "") in watch.events()
    device.edit("/etc/here/file", b"y", in_place=True)
    assert watch.events() == (("/etc/here", "file"),)


def test_real_overflow(tmp_path: Path) -> None:
    """The real kernel's overflow is told the same way."""
    system = RealSystem(str(tmp_path))
    watch = system.watch(["/"])
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text(encoding="ascii"))
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    for _ in range(room // 2 + 2):
        one.rename(other)
        one, other = other, one
    assert ("", "") in watch.events()
    (tmp_path / "three").touch()
    assert ("/", "three") in watch.events()
    watch.close()


class Full(SimulatedNotify):
    """A kernel with no room for one more watch."""

    def add_watch(self, path: str, mask: int, /) -> int:
        """Refuse."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_is_said() -> None:
    """Too many watches: one sentence that names the knob."""
    device = SimulatedSystem()
    with pytest.raises(Unreadable, match=r"raise fs\.inotify.max_user_watches"):
        DirectoryWatch(Full(device.disk), ["/etc"])


class Late(SimulatedNotify):
    """A kernel on which a directory comes right after it was found missing."""

    def __init__(self, device: SimulatedSystem) -> None:
        super().__init__(device.disk)
        self.device = device
        self.came = 0

    def add_watch(self, path: str, mask: int, /) -> int:
        """Watch, or refuse and let it come."""
        try:
            return super().add_watch(path, mask)
        except FileNotFoundError:
            self.came += 1
            self.device.hand.directory(path)
            raise


def test_a_directory_that_comes_while_we_look_is_not_missed() -> None:
    """Made between the look at it and the watch on its parent: it is watched all the same."""
    device = SimulatedSystem(shipped=False)
    notify = Late(device)
    watch = DirectoryWatch(notify, ["/etc/here"])
    assert notify.came == 1
    device.edit("/etc/here/file", b"x", in_place=True)
    assert watch.events() == (("/etc/here", "file"),)


def watches_of(watch: Watch) -> int:
    """Count the kernel's watches behind a descriptor."""
    return Path("/proc/self/fdinfo/%d" % watch.fileno()).read_text(encoding="ascii").count("inotify wd:")


def test_watches_are_given_back(tmp_path: Path) -> None:
    """Coming and going leaves no watch and no descriptor behind."""
    held = len(os.listdir("/proc/self/fd"))
    system = RealSystem(str(tmp_path))
    (tmp_path / "etc").mkdir()
    watch = system.watch(["/etc/here/below"])
    for _ in range(50):
        (tmp_path / "etc/here/below").mkdir(parents=True)
        watch.events()
        (tmp_path / "etc/here/below").rmdir()
        (tmp_path / "etc/here").rmdir()
        watch.events()
    assert watches_of(watch) == 1
    (tmp_path / "etc/here/below").mkdir(parents=True)
    watch.events()
    assert watches_of(watch) == 1
    watch.close()
    assert len(os.listdir("/proc/self/fd")) == held
