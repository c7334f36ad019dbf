"""A standing look at directories, over inotify or the simulated disk's likeness of it.

A directory that is not there is watched through its nearest existing parent and armed when it appears. An event is
(directory, name); name "" says that the whole directory is in doubt (it came, went or was moved), and ("", "") that
everything is (the kernel dropped events). Links on the way to a directory are followed once, when it is armed; what a
later change of such a link does is found by the guard's sweep. Our own unfinished files are not reported.
"""

import errno
from collections.abc import Iterable, Sequence
from typing import Protocol

from agent.core.errors import Unreadable
from agent.system.beneath import checked, said
from agent.system.durable import temporary

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLY_DIRECTORY = 0x01000000

# MODIFY too: a program that keeps its file open and never closes it has changed it all the same.
WANTED = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF
GONE = DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED
FULL = "the kernel watches no more directories; raise fs.inotify.max_user_watches"


class Event(Protocol):
    """What inotify tells: which watch, what happened (bits), to which name in the directory."""

    @property
    def wd(self) -> int: ...  # noqa: D102
    @property
    def mask(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


class Notifier(Protocol):
    """The part of inotify that is used; `agent.system.inotify.INotify` has it."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when events wait."""

    def add_watch(self, path: str, mask: int, /) -> int:
        """Watch a directory; the same one gives the same number. OSError as the kernel says."""

    def rm_watch(self, wd: int, /) -> None:
        """Watch it no longer."""

    def read(self, timeout: int | None = None, /) -> Iterable[Event]:
        """Take the waiting events."""

    def close(self) -> None:
        """Stop."""


class DirectoryWatch:
    """Watches directories for changes of what is in them."""

    def __init__(self, notifier: Notifier, directories: Sequence[str], root: str = "/") -> None:
        self._notifier = notifier
        self._root = "" if root == "/" else root
        self._armed: dict[str, tuple[int, str]] = {}  # wanted directory -> (watch, the path that is watched for it)
        self.add(directories)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when events wait."""
        return self._notifier.fileno()

    def close(self) -> None:
        """Stop watching."""
        self._armed.clear()
        self._notifier.close()

    def add(self, directories: Sequence[str]) -> None:
        """Watch more directories; Unreadable when the kernel has no room for another watch."""
        for path in directories:
            wanted = checked(path).rstrip("/") or "/"
            if wanted not in self._armed:
                self._arm(wanted)

    def events(self) -> tuple[tuple[str, str], ...]:
        """Take the waiting events, each once, without blocking."""
        told: dict[tuple[str, str], None] = {}
        doubtful: dict[str, None] = {}
        for event in self._notifier.read(0):
            if event.mask & OVERFLOW:
                told[("", "")] = None
                doubtful.update(dict.fromkeys(self._armed))
                continue
            for wanted, (wd, watched) in tuple(self._armed.items()):
                if wd == event.wd:
                    self._sort(event, wanted, watched, told, doubtful)
        for wanted in doubtful:
            if self._rearm(wanted):
                told[(wanted, "")] = None
        return tuple(told)

    def _sort(
        self,
        event: Event,
        wanted: str,
        watched: str,
        told: dict[tuple[str, str], None],
        doubtful: dict[str, None],
    ) -> None:
        """Decide what one event means for one wanted directory."""
        if event.mask & GONE:
            doubtful[wanted] = None
        elif wanted == watched:
            if event.name and not temporary(event.name):
                told[(wanted, event.name)] = None
            elif not event.name:
                told[(wanted, "")] = None  # its own rights changed
        elif event.name == following(wanted, watched):
            doubtful[wanted] = None

    def _arm(self, wanted: str) -> None:
        """Watch a directory, or the nearest one above it that is there."""
        path = wanted
        while True:
            try:
                wd = self._notifier.add_watch(self._root + path, WANTED | ONLY_DIRECTORY)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise Unreadable("cannot watch %s: %s" % (wanted, FULL)) from error
                if path == "/" or error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                    raise said("watch", wanted, error) from error
                path = path.rpartition("/")[0] or "/"
                continue
            self._armed[wanted] = (wd, path)
            if path == wanted or not self._came(wanted, path):
                return
            path = wanted  # what was missing came while we looked

    def _came(self, wanted: str, watched: str) -> bool:
        """Say whether the next directory of the way is there by now, although it was not a moment ago."""
        below = watched.rstrip("/") + "/" + following(wanted, watched)
        try:
            wd = self._notifier.add_watch(self._root + below, WANTED | ONLY_DIRECTORY)
        except OSError:
            return False
        self._drop(wd)
        return True

    def _rearm(self, wanted: str) -> bool:
        """Arm again after something came or went on the way; say whether the wanted directory itself came or went."""
        wd, watched = self._armed.pop(wanted)
        self._arm(wanted)
        self._drop(wd)
        return wanted in (watched, self._armed[wanted][1])

    def _drop(self, wd: int) -> None:
        """Let a watch go that nobody needs any more."""
        if all(wd != kept for kept, _ in self._armed.values()):
            try:
                self._notifier.rm_watch(wd)
            except OSError:
                return  # the kernel dropped it first, with its directory


def following(wanted: str, watched: str) -> str:
    """Return the name that comes after a directory on the way to another."""
    return wanted[len(watched.rstrip("/")) + 1 :].partition("/")[0]
