"""Where the bytes lie: a value for the kernel, other bytes or zeros over a file's, and a search of what a medium holds.

Nothing here is made or renamed.
"""

import errno
import mmap
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

from agent.core.errors import Unreadable
from agent.system.beneath import QUIET, Beneath, again, split, telling

LISTS = ("system.posix_acl_access", "system.posix_acl_default")
CHUNK = 1 << 16
PART = 1 << 20
BLOCK = 512


class InPlace(Beneath):
    """The part of the door that writes over what is there."""

    def overwrite(self, path: str, content: bytes) -> None:
        """Put other bytes in a file where it lies, as many as it holds; fit for FAT, and whole where one block is."""
        with telling("overwrite", path), self._plain(path, os.O_WRONLY) as (_, number):
            found = again(self.calls.stat, number)
            if found.kind != "file" or found.size != len(content):
                told = (path, found.kind, found.size, len(content))
                raise Unreadable("cannot overwrite %s: it is a %s of %d bytes; give as many, not %d" % told)
            self._pour(number, content)
            again(self.calls.fsync, number)

    def search(self, path: str, values: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return those of some byte strings that a file or a block device holds, however long it is."""
        with telling("search", path):
            sought = {value for value in values if value}
            longest = max((len(value) for value in sought), default=1)
            found: set[bytes] = set()
            rest = b""
            with closing(self._streamed(path)) as parts:
                for part in parts:
                    window = rest + part
                    found |= {value for value in sought - found if value in window}
                    rest = window[max(0, len(window) - longest + 1) :]
                    if found == sought:
                        break
            return tuple(sorted(found))

    def shred(self, path: str) -> None:
        """Overwrite a file where it lies, zeros to its full length, then remove it; Missing when it is not there.

        Nothing is made or renamed, so it is fit for FAT. A power cut before it returns leaves the file whole, partly
        zeros, or gone.
        """
        with telling("shred", path):
            try:
                with self._plain(path, os.O_WRONLY) as (directory, number):
                    found = again(self.calls.stat, number)
                    if found.kind != "file":
                        raise Unreadable("cannot shred %s: it is a %s; name a file" % (path, found.kind))
                    self._blank(number, found.size)
                    again(self.calls.fsync, number)  # before its name goes: a freed cluster is never written any more
                    again(self.calls.unlink, directory, split(path)[-1])
                    again(self.calls.fsync, directory)
            except FileNotFoundError:  # whoever removed it may not have synced it
                self.sync_nearest(split(path))
                raise
            self.forget(path)

    def kernel(self, path: str, content: bytes) -> None:
        """Write a value into a kernel file beneath /proc/sys or /sys, in place and in one call."""
        names = split(path)
        top = 2 if names[:2] == ("proc", "sys") else 1 if names[:1] == ("sys",) else 0
        if not top or len(names) == top:
            raise Unreadable("cannot write %s in place: only kernel files may be; name one in /proc/sys or /sys" % path)
        with telling("write", path), self.held(self.directory(names[:top], make=False)) as base:
            flags = os.O_WRONLY | os.O_TRUNC  # /sys/class is links, all of them within /sys
            with self.held(self.file(base, names[top:], flags, links=names[0] == "sys")) as number:
                if again(self.calls.write, number, memoryview(content)) != len(content):
                    raise Unreadable("the kernel took only a part of the value for %s; correct the value" % path)

    def access_lists(self, path: str) -> tuple[bytes, bytes]:
        """Return the access list of a file or directory, and the one it gives to what is made in it; b"" for none."""
        with telling("look at", path), self._plain(path) as (_, number):
            access, default = (again(self.calls.attribute, number, name) for name in LISTS)
            return access, default

    def list_access(self, path: str, access: bytes, default: bytes) -> None:
        """Set or take away access lists; for a moment a file may have the one and not the other."""
        with telling("set the access list of", path), self._plain(path) as (_, number):
            for name, value in zip(LISTS, (access, default), strict=True):
                again(self.calls.set_attribute, number, name, value)
            again(self.calls.fsync, number)

    def alone(self, directory: int, number: int, path: str) -> None:
        """Refuse a file with a second name where others than root make names: it may be any file of this device.

        fs.protected_hardlinks keeps users from making such links, but not the links made before it was on.
        """
        found = again(self.calls.stat, number)
        if found.kind == "directory" or found.names < 2:
            return
        holder = again(self.calls.stat, directory)
        if holder.uid not in (0, os.geteuid()) or holder.mode & 0o022:
            raise Unreadable(
                "cannot change %s: it is a hard link where others than root can make one, so it may be a file from "
                "elsewhere; put a copy in its place" % path
            )

    def _streamed(self, path: str) -> Generator[bytes, None, None]:
        """Read in parts; a device past the kernel's memory of it, which may be older than the medium."""
        with self.held(again(self.calls.follow, self.root, path, os.O_RDONLY | QUIET)) as number:
            kind = again(self.calls.stat, number).kind
            if kind not in ("file", "device"):
                raise Unreadable("cannot search %s: it is a %s; name a file or a disk" % (path, kind))
            direct = self._direct(path, kind)
            with self.held(direct), mmap.mmap(-1, PART) as into:
                while count := again(self.calls.fill, direct, into):
                    yield into[:count]
                    if count % BLOCK:
                        return

    def _direct(self, path: str, kind: str) -> int:
        """Open a device past the kernel's memory, where the kernel can do that, else as any program does."""
        if kind == "device":
            with suppress(OSError):
                return again(self.calls.follow, self.root, path, os.O_RDONLY | QUIET | os.O_DIRECT)
        return again(self.calls.follow, self.root, path, os.O_RDONLY | QUIET)

    def _pour(self, number: int, content: bytes) -> None:
        """Write all of it: one call may take less than it is given."""
        rest = memoryview(content)
        while rest:
            taken = again(self.calls.write, number, rest)
            if taken <= 0:
                raise OSError(errno.EIO, "the system takes no more bytes")
            rest = rest[taken:]

    def _blank(self, number: int, size: int) -> None:
        """Write zeros over so many bytes."""
        zeros = bytes(min(size, CHUNK))
        for place in range(0, size, CHUNK):
            self._pour(number, zeros[: size - place])

    @contextmanager
    def _plain(self, path: str, access: int = os.O_RDONLY) -> Iterator[tuple[int, int]]:
        """Hold a directory and, in it, a file or directory itself: no link, and nothing that acts when it is opened."""
        with self.parent(path, make=False) as (directory, name):
            kind = again(self.calls.look, directory, name).kind
            if kind not in ("file", "directory"):
                raise Unreadable("cannot change %s: it is a %s; name a file or a directory" % (path, kind))
            flags = access | os.O_NOFOLLOW | QUIET
            with self.held(again(self.calls.open, directory, name, flags)) as number:
                self.alone(directory, number, path)
                yield directory, number
