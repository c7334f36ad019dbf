"""The simulated kernel's inotify: the part of `agent.system.inotify.INotify` that `agent.system.watch` uses."""

import errno
import os
from typing import NamedTuple

from agent.system.simulated.disk import Disk, Node, refused
from agent.system.watch import DELETE_SELF, IGNORED, OVERFLOW

ROOM = 16384  # events that may wait, as many as Linux lets


class Event(NamedTuple):
    """What happened: which watch, what (bits), to which name."""

    wd: int
    mask: int
    name: str


class SimulatedNotify:
    """Events of watched directories of a simulated disk."""

    def __init__(self, disk: Disk, room: int = ROOM) -> None:
        self._disk = disk
        self._room = room
        self._watched: dict[int, tuple[int, int]] = {}  # inode -> (watch, wanted bits)
        self._waiting: list[Event] = []
        self._last = 0
        self._bell = -1
        disk.listeners.append(self._hear)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when events wait; made when first asked for."""
        if self._bell < 0:
            self._bell = os.eventfd(1 if self._waiting else 0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._bell

    def add_watch(self, path: str, mask: int, /) -> int:
        """Watch a directory; the same one gives the same number."""
        node = self._disk.find(self._disk.root, path, last=True)
        if node.kind != "directory":
            raise refused(errno.ENOTDIR, path)
        if node.inode not in self._watched:
            self._last += 1
            self._watched[node.inode] = (self._last, mask)
        return self._watched[node.inode][0]

    def rm_watch(self, wd: int, /) -> None:
        """Watch it no longer."""
        for inode, (number, _) in tuple(self._watched.items()):
            if number == wd:
                del self._watched[inode]
                self._put(Event(wd, IGNORED, ""))
                return
        raise refused(errno.EINVAL, str(wd))

    def read(self, timeout: int | None = None, /) -> list[Event]:
        """Take the waiting events; there is nobody to wait for."""
        if timeout != 0 and not self._waiting:
            raise refused(errno.EDEADLK, "inotify")
        taken, self._waiting = self._waiting, []
        if self._bell >= 0 and taken:
            os.eventfd_read(self._bell)
        return taken

    def close(self) -> None:
        """Stop."""
        if self._hear in self._disk.listeners:
            self._disk.listeners.remove(self._hear)
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1

    def _hear(self, node: Node, name: str, mask: int) -> None:
        """Note an event of a watched directory."""
        if node.inode not in self._watched:
            return
        wd, wanted = self._watched[node.inode]
        if mask & wanted:
            self._put(Event(wd, mask & wanted, name))
        if mask & DELETE_SELF:
            del self._watched[node.inode]
            self._put(Event(wd, IGNORED, ""))

    def _put(self, event: Event) -> None:
        """Queue an event, each run of equals once; when the queue is full say so and drop it."""
        if self._waiting and self._waiting[-1] == event:
            return
        if len(self._waiting) >= self._room:
            event = Event(-1, OVERFLOW, "")
            if self._waiting[-1] == event:
                return
        self._waiting.append(event)
        if self._bell >= 0 and len(self._waiting) == 1:
            os.eventfd_write(self._bell, 1)
