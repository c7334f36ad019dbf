"""Calls that go wrong on purpose, around the real or the simulated kernel's.

`Faulty` does something else in place of the k-th call: fails, takes less, ends the process. The twins leave out what
makes a change durable; a test of durability that cannot tell a twin from the real thing tests nothing.
"""

import mmap
import os
from collections.abc import Callable

from agent.system.calls import Calls
from agent.system.door import Stat

Act = Callable[[str], None]
"""What happens in place of the call of this name: it raises, or ends the process."""


def failing(code: int) -> Act:
    """Return an act that fails as the kernel does: errno.EIO, ENOSPC, EROFS, EINTR, …"""

    def act(name: str) -> None:
        raise OSError(code, os.strerror(code), name)

    return act


def dying(name: str) -> None:
    """End the real process at once, with nothing cleaned up; for a forked child."""
    os._exit(137 if name else 1)


class Faulty(Calls):
    """Calls of which the `at`-th (1 is the first; 0 none) does `act` instead, and writes at most `most` bytes at once.

    `made` counts the calls, `names` lists them, `fired` says how often the fault came.
    """

    def __init__(self, inner: Calls, at: int = 0, act: Act = dying, most: int = 0) -> None:
        super().__init__()
        self.inner = inner
        self.at = at
        self.act = act
        self.most = most
        self.names_made: list[str] = []
        self.fired = 0

    @property
    def made(self) -> int:
        """Return how many calls were made."""
        return len(self.names_made)

    def _count(self, name: str) -> None:
        """Count a call and let the fault come in its place."""
        self.names_made.append(name)
        if self.made == self.at:
            self.fired += 1
            self.act(name)

    def open(self, directory: int | None, name: str, flags: int, mode: int = 0) -> int:
        """Open one name."""
        self._count("open")
        return self.inner.open(directory, name, flags, mode)

    def beneath(self, directory: int, path: str, flags: int, links: bool = False) -> int:
        """Open through no link."""
        self._count("beneath")
        return self.inner.beneath(directory, path, flags, links)

    def follow(self, root: str, path: str, flags: int) -> int:
        """Open through links."""
        self._count("follow")
        return self.inner.follow(root, path, flags)

    def close(self, number: int) -> None:
        """Close, even when the fault says otherwise: Linux does so too."""
        try:
            self._count("close")
        finally:
            self.inner.close(number)

    def read(self, number: int, count: int) -> bytes:
        """Read."""
        self._count("read")
        return self.inner.read(number, count)

    def fill(self, number: int, buffer: mmap.mmap) -> int:
        """Read into a buffer."""
        self._count("fill")
        return self.inner.fill(number, buffer)

    def write(self, number: int, content: memoryview) -> int:
        """Write, perhaps less than given."""
        self._count("write")
        if self.most and len(content) > self.most:
            self.fired += 1
            content = content[: self.most]
        return self.inner.write(number, content)

    def truncate(self, number: int, size: int) -> None:
        """Cut back."""
        self._count("truncate")
        self.inner.truncate(number, size)

    def fsync(self, number: int) -> None:
        """Sync."""
        self._count("fsync")
        self.inner.fsync(number)

    def datasync(self, number: int) -> None:
        """Sync content."""
        self._count("datasync")
        self.inner.datasync(number)

    def chmod(self, number: int, mode: int) -> None:
        """Set bits."""
        self._count("chmod")
        self.inner.chmod(number, mode)

    def chown(self, number: int, uid: int, gid: int) -> None:
        """Set owner."""
        self._count("chown")
        self.inner.chown(number, uid, gid)

    def attribute(self, number: int, name: str) -> bytes:
        """Read an extended attribute."""
        self._count("attribute")
        return self.inner.attribute(number, name)

    def set_attribute(self, number: int, name: str, value: bytes) -> None:
        """Set an extended attribute."""
        self._count("set_attribute")
        self.inner.set_attribute(number, name, value)

    def rename(self, directory: int, old: str, new: str) -> None:
        """Rename."""
        self._count("rename")
        self.inner.rename(directory, old, new)

    def unlink(self, directory: int, name: str) -> None:
        """Remove."""
        self._count("unlink")
        self.inner.unlink(directory, name)

    def mkdir(self, directory: int, name: str, mode: int) -> None:
        """Make a directory."""
        self._count("mkdir")
        self.inner.mkdir(directory, name, mode)

    def names(self, number: int) -> list[str]:
        """List."""
        self._count("names")
        return self.inner.names(number)

    def stat(self, number: int) -> Stat:
        """Look at an open file."""
        self._count("stat")
        return self.inner.stat(number)

    def look(self, directory: int, name: str) -> Stat:
        """Look at a name."""
        self._count("look")
        return self.inner.look(directory, name)

    def readlink(self, directory: int, name: str) -> str:
        """Read a link."""
        self._count("readlink")
        return self.inner.readlink(directory, name)

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes."""
        self._count("entropy")
        return self.inner.entropy(count)


class NoSync(Faulty):
    """A twin that leaves out the fsync of directories, of files, or both; `fired` counts what was left out."""

    def __init__(self, inner: Calls, directories: bool = False, files: bool = False) -> None:
        super().__init__(inner)
        self.left_out = {"directory": directories, "file": files}

    def fsync(self, number: int) -> None:
        """Sync, or say so."""
        if self.left_out[self.inner.stat(number).kind]:
            self.fired += 1
        else:
            super().fsync(number)

    def datasync(self, number: int) -> None:
        """Sync, or say so."""
        if self.left_out["file"]:
            self.fired += 1
        else:
            super().datasync(number)


class Careless(Faulty):
    """A twin that takes a short write for a whole one: the caller is told that all was written."""

    def write(self, number: int, content: memoryview) -> int:
        """Write at most `most` bytes and claim more."""
        super().write(number, content)
        return len(content)
