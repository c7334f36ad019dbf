"""inotify(7) in one screen, by ctypes.

The library for it, inotify_simple, imports ctypes.util and with it shutil, tempfile, bz2 and random: 1.2 MB of the
fifteen the guard may have at rest.
"""

import ctypes
import os
import struct
from collections import namedtuple  # typing.NamedTuple would keep its annotations in memory too
from collections.abc import Iterator

NONBLOCK = os.O_NONBLOCK
CLOEXEC = os.O_CLOEXEC
HEAD = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, length of the name
MOST = 64 * 1024
ROUNDS = 16  # more than the kernel queues by default; a flood must not keep the guard from its other work

Event = namedtuple("Event", ("wd", "mask", "cookie", "name"))  # noqa: PYI024 - see its import


class INotify:
    """One inotify instance; errors of the kernel are OSError, as the manual page says."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._number = self._checked(self._libc.inotify_init1(NONBLOCK | CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor, readable when events wait."""
        return self._number

    def add_watch(self, path: str, mask: int, /) -> int:
        """Watch a path; the same one gives the same number."""
        return self._checked(self._libc.inotify_add_watch(self._number, os.fsencode(path), ctypes.c_uint32(mask)))

    def rm_watch(self, wd: int, /) -> None:
        """Watch it no longer."""
        self._checked(self._libc.inotify_rm_watch(self._number, wd))

    def read(self, timeout: int | None = None, /) -> Iterator[Event]:
        """Take the events that wait."""
        for _ in range(ROUNDS):
            try:
                raw = os.read(self._number, MOST)
            except BlockingIOError:
                return
            place = 0
            while place < len(raw):
                wd, mask, cookie, length = HEAD.unpack_from(raw, place)
                place += HEAD.size + length
                yield Event(wd, mask, cookie, os.fsdecode(raw[place - length : place].rstrip(b"\0")))

    def close(self) -> None:
        """End every watch."""
        os.close(self._number)

    @staticmethod
    def _checked(result: int) -> int:
        """Return a result that is no error."""
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
