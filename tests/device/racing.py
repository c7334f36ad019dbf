"""Runs on the device under test: writes of our door as root, while the user pi swaps what is on the way.

Arguments: who writes (openat2, walk, or the known bad by-path, no-follow), what is swapped (a, b, c, link, hardlink),
how often to write. Prints one JSON object.

The way is /home/pi/a/b/c/{file,folder}; pi owns every directory of it and swaps one name for a symbolic link to the
same place beneath /home/outside, which is root's, or the last name for a hard link to a file of root's. pi may make no
such hard link where fs.protected_hardlinks is on: root makes them here, as they were made before it was on.
"""

import contextlib
import ctypes
import json
import mmap
import os
import pwd
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.errors import PrivetError
from agent.system.calls import Calls
from agent.system.real import RealSystem

HOME, OUTSIDE = "/home/pi", "/home/outside"
WAY = HOME + "/a/b/c"
THEIRS, OURS = b"theirs", b"ours!!"
PI = pwd.getpwnam("pi")
EXCHANGE = 2
PAUSE, PAUSED = 0, 1  # bytes of the memory that both processes see; behind them the count of swaps
HERE = -100  # AT_FDCWD
PATIENCE = 90.0
PROCESSORS = sorted(os.sched_getaffinity(0))
FEW, MORE = 10, 10  # done, refused or swapped under no oftener than FEW times: up to MORE times the rounds
LIBRARY = ctypes.CDLL(None, use_errno=True)
OPERATIONS = ("write", "append", "remove", "own", "make_directory", "shred", "overwrite")


class OldKernel(Calls):
    """The kernel as it was before openat2."""

    def beneath(self, directory: int, path: str, flags: int, links: bool = False) -> int:
        """Refuse, as an old kernel or a sandbox does."""
        raise OSError(38, os.strerror(38), path)


class ByPath:
    """Known bad: the same changes by opening the path, with more flags for its last name."""

    def __init__(self, flags: int) -> None:
        self.flags = flags

    def write(self, path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
        """Write over a file."""
        self._changed(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, content, (mode, uid, gid))

    def append(self, path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
        """Add to a file."""
        self._changed(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, content, (mode, uid, gid))

    def own(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Set rights."""
        self._changed(path, os.O_RDONLY, b"", (mode, uid, gid))

    def overwrite(self, path: str, content: bytes) -> None:
        """Put other bytes in place."""
        self._changed(path, os.O_WRONLY, content, None)

    def shred(self, path: str) -> None:
        """Write zeros, and remove."""
        self._changed(path, os.O_WRONLY, bytes(len(THEIRS)), None)
        os.unlink(path)

    def remove(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def make_directory(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Make a directory, or set its rights."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        self._changed(path, os.O_RDONLY | os.O_DIRECTORY, b"", (mode, uid, gid))

    def _changed(self, path: str, flags: int, content: bytes, rights: tuple[int, int, int] | None) -> None:
        number = os.open(path, flags | self.flags | os.O_NONBLOCK, 0o600)
        try:
            if rights is not None:
                os.fchmod(number, rights[0])
                os.fchown(number, *rights[1:])
            if content:
                os.write(number, content)
        finally:
            os.close(number)


class Swapper:
    """The user pi in a process of its own, who swaps two names as fast as the kernel lets it."""

    def __init__(self, place: str, trap: str) -> None:
        self.shared = mmap.mmap(-1, 4096)
        self.shared[PAUSE] = 1
        parent = os.getpid()
        self.child = os.fork()
        if not self.child:
            try:
                apart(-1)
                os.setgroups([])
                os.setresgid(PI.pw_gid, PI.pw_gid, PI.pw_gid)
                os.setresuid(PI.pw_uid, PI.pw_uid, PI.pw_uid)
                self.swap(parent, os.fsencode(place), os.fsencode(trap))
            finally:
                os._exit(0)
        apart(0)

    def swap(self, parent: int, place: bytes, trap: bytes) -> None:
        """Swap in one act, or one after the other so that the name is missing in between, until the parent is gone."""
        shared, swaps, aside = self.shared, 0, place + b"-aside"
        while os.getppid() == parent:
            if shared[PAUSE]:
                shared[PAUSED] = 1
                time.sleep(0)
                continue
            shared[PAUSED] = 0
            if swaps % 64 < 32:
                done = LIBRARY.renameat2(HERE, place, HERE, trap, EXCHANGE) == 0
            else:
                done = LIBRARY.rename(place, aside) == 0
                done = LIBRARY.rename(trap, place) == 0 and done
                done = LIBRARY.rename(aside, trap) == 0 and done
            swaps += 1
            if done:
                shared[8:16] = (self.count() + 1).to_bytes(8, "little")

    def count(self) -> int:
        """Return how often the names were swapped."""
        return int.from_bytes(self.shared[8:16], "little")

    def hold(self) -> None:
        """Let nothing be swapped until `go`."""
        self.shared[PAUSE] = 1
        while not self.shared[PAUSED]:
            time.sleep(0)

    def go(self) -> None:
        """Swap again, and see it begin."""
        begun = self.count()
        self.shared[PAUSED] = 0
        self.shared[PAUSE] = 0
        while self.count() == begun:
            time.sleep(0)

    def end(self) -> None:
        """End the process."""
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)


def apart(place: int) -> None:
    """Take a processor of one's own, before other work: two who never run at once swap nothing in the very moment."""
    os.setpriority(os.PRIO_PROCESS, 0, -19)
    os.sched_setaffinity(0, {PROCESSORS[place]})


class Race:
    """One kind of swap, and the places it is about."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.last = what in ("link", "hardlink")

    def lay(self, name: str) -> None:
        """Put everything as it is before a round; nothing is swapped meanwhile."""
        for top in (HOME + "/a", HOME + "/trap", HOME + "/a-aside"):
            if os.path.islink(top):
                os.unlink(top)
            shutil.rmtree(top, ignore_errors=True)
        for top in (OUTSIDE, HOME):
            owner = (PI.pw_uid, PI.pw_gid) if top == HOME else (0, 0)
            for folder in (top, top + "/a", top + "/a/b", top + "/a/b/c", top + "/a/b/c/folder"):
                os.makedirs(folder, exist_ok=True)
                os.chown(folder, *owner)
            file = Path(top + "/a/b/c/file")
            file.write_bytes(THEIRS)
            file.chmod(0o640)
            os.chown(file, *owner)
        self.trap(name)

    def trap(self, name: str) -> None:
        """Put the trap beside the name that is swapped for it."""
        place, trap = self.names(name)
        if os.path.lexists(trap):
            os.unlink(trap)
        if self.what == "hardlink":
            os.link(OUTSIDE + place[len(HOME) :], trap)
        else:
            os.symlink(OUTSIDE + place[len(HOME) :], trap)

    def names(self, name: str) -> tuple[str, str]:
        """Return the name that is swapped and the trap it is swapped for."""
        parts = ("a", "b", "c", name)
        depth = 4 if self.last else parts.index(self.what) + 1
        place = "/".join((HOME, *parts[:depth]))
        return place, os.path.dirname(place) + "/trap"

    def whole(self, name: str) -> bool:
        """Say whether both names are there and one of them leads outside."""
        place, trap = self.names(name)
        if not os.path.lexists(place) or not os.path.lexists(trap) or not os.path.lexists(f"{WAY}/{name}"):
            return False
        if self.what == "hardlink":
            return sorted(os.lstat(path).st_nlink for path in (place, trap)) == [1, 2]
        return os.path.islink(place) != os.path.islink(trap)


def outside() -> dict[str, Any]:
    """Return all there is outside: rights, owners, contents."""
    found: dict[str, Any] = {}
    for folder, _, names in os.walk(OUTSIDE):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            stat = os.lstat(path)
            content = Path(path).read_bytes().hex() if path != folder else ""
            found[path] = (stat.st_mode, stat.st_uid, stat.st_gid, content)
    return found


def acts(door: Any) -> dict[str, Callable[[], None]]:
    """Return the operations, each with the rights of the user, as root might give them to a file of his."""
    file, folder, mine = WAY + "/file", WAY + "/folder", (PI.pw_uid, PI.pw_gid)
    return {
        "write": lambda: door.write(file, OURS, 0o600, *mine),
        "append": lambda: door.append(file, OURS, 0o600, *mine),
        "remove": lambda: door.remove(file),
        "own": lambda: door.own(file, 0o600, *mine),
        "make_directory": lambda: door.make_directory(folder, 0o700, *mine),
        "shred": lambda: door.shred(file),
        "overwrite": lambda: door.overwrite(file, OURS),
    }


def ran(door: Any, what: str, rounds: int) -> dict[str, Any]:
    """Race every operation that can meet this swap."""
    skipped = {"make_directory"} if what == "hardlink" else set()  # no directory has two names
    return {name: raced(Race(what), name, act, rounds) for name, act in acts(door).items() if name not in skipped}


def wanting(row: dict[str, int], rounds: int) -> bool:
    """Say whether more rounds are due: on a busy machine one side of a race may win nearly all of them."""
    ran = row["done"] + row["refused"]
    return ran < rounds or (ran < rounds * MORE and min(row["done"], row["refused"], row["swapped"]) <= FEW)


def raced(race: Race, name: str, act: Callable[[], None], rounds: int) -> dict[str, int]:
    """Do the rounds, and more if they met too little; say how many were done, refused, swapped under, escaped."""
    row = {"done": 0, "refused": 0, "swapped": 0, "escaped": 0}
    last = "folder" if name == "make_directory" else "file"
    ends = time.monotonic() + PATIENCE
    race.lay(last)
    before = outside()
    swapper = Swapper(*race.names(last))
    while wanting(row, rounds) and time.monotonic() < ends:
        swapper.hold()
        if not race.whole(last):
            race.lay(last)
        swapper.go()
        begun = swapper.count()
        try:
            act()
            row["done"] += 1
        except (PrivetError, OSError):
            row["refused"] += 1
        row["swapped"] += swapper.count() > begun
        if outside() != before:
            row["escaped"] += 1
            swapper.hold()
            shutil.rmtree(OUTSIDE)
            race.lay(last)
            before = outside()
    swapper.end()
    return row


def main() -> None:
    """Run one race."""
    who, what, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    door: Any = {
        "openat2": lambda: RealSystem(calls=Calls(), announce=lambda _: None),
        "walk": lambda: RealSystem(calls=OldKernel(), announce=lambda _: None),
        "by-path": lambda: ByPath(0),
        "no-follow": lambda: ByPath(os.O_NOFOLLOW),
    }[who]()
    print(json.dumps(ran(door, what, rounds)))


if __name__ == "__main__":
    main()
