"""Who writes: fanotify(7) names the process behind a change, so that a warning can say which program it was.

Beginning it needs CAP_SYS_ADMIN, going on with it does not: a process that has the power may begin, and lend the open
file to one that has not. Where the kernel refuses, nothing is known and nothing breaks.
"""

import ctypes
import os
import struct
import time
from collections.abc import Callable, Sequence

from agent.core.shown import harmless

INIT = 0x00000001 | 0x00000002  # FAN_CLOEXEC | FAN_NONBLOCK, class FAN_CLASS_NOTIF
OPEN = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_LARGEFILE", 0)
ADD = 0x00000001 | 0x00000008  # FAN_MARK_ADD | FAN_MARK_ONLYDIR
WRITTEN = 0x00000008 | 0x08000000  # FAN_CLOSE_WRITE, on the directory's children
HERE = -100  # AT_FDCWD
EVENT = struct.Struct("=IBBHQii")
LATELY = 16  # names remembered per directory
ENDED = "a program that has already ended"  # no program is called so: the kernel keeps 15 letters
RECENT = 60.0  # seconds after which who wrote says nothing about what is found changed now


class Writers:
    """The programs that closed a file they had written in one of the watched directories."""

    def __init__(self, number: int | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.number = begin() if number is None else number
        self.seen: dict[str, dict[str, float]] = {}  # by directory, by name: when

    def watch(self, directories: Sequence[str]) -> None:
        """Ask about these directories too; one that is not there is left out."""
        for directory in directories if self.number >= 0 else ():
            self.libc.fanotify_mark(
                self.number, ctypes.c_uint(ADD), ctypes.c_uint64(WRITTEN), HERE, os.fsencode(directory)
            )

    def take(self) -> None:
        """Read what the kernel has noted; soon after the event, while the program still runs."""
        while self.number >= 0:
            try:
                raw = os.read(self.number, 4096)
            except OSError:
                return
            place = 0
            while place + EVENT.size <= len(raw):
                length, _, _, _, _, number, pid = EVENT.unpack_from(raw, place)
                place += max(length, EVENT.size)
                if number >= 0:
                    self.note(number, pid)

    def note(self, number: int, pid: int) -> None:
        """Remember one event; our own writing is not somebody else's."""
        try:
            directory = os.path.dirname(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            directory = ""
        os.close(number)
        if pid in (0, os.getpid()) or parent(pid) == os.getpid() or mine(pid):
            return
        names = self.seen.setdefault(directory, {})
        names.pop(said(pid), None)
        names[said(pid)] = self.now()
        while len(names) > LATELY:
            del names[next(iter(names))]

    def names(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Name who wrote in these directories lately, the latest last; those that still run, if any does."""
        self.take()
        since = self.now() - RECENT
        seen = [self.seen.get(directory.rstrip("/") or "/", {}) for directory in directories]
        found = [name for names in seen for name, when in names.items() if when >= since]
        running = [name for name in found if not name.startswith(ENDED)]
        return tuple(running[-3:] or found[-1:])


def begin() -> int:
    """Begin to listen; return the open file, or -1 where the kernel refuses."""
    number: int = ctypes.CDLL(None, use_errno=True).fanotify_init(INIT, OPEN)
    return number


def mine(pid: int) -> bool:
    """Say whether a process belongs to a service of Privet's own, as a hand does and what it starts.

    A service of the device: what a person calls so in a session of theirs lies elsewhere in systemd's tree.
    """
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as cgroup:
            names = next((line for line in cgroup if line.startswith("0::")), "").strip().split("/")
    except OSError:
        return False
    return names[1:2] == ["system.slice"] and names[-1].startswith("privet-") and names[-1].endswith(".service")


def said(pid: int) -> str:
    """Name a process for a person."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
            return f"{harmless(comm.read().strip())} (process {pid})"
    except OSError:
        return f"{ENDED} (process {pid})"


def parent(pid: int) -> int:
    """Return the parent of a process, 0 when it has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
