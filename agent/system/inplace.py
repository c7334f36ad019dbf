"""Changes made where the bytes lie: a value for the kernel, zeros over a secret. Nothing here is made or renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from agent.core.errors import Unreadable
from agent.system.beneath import QUIET, Beneath, again, split, telling

CHUNK = 1 << 16


class InPlace(Beneath):
    """The part of the door that writes over what is there."""

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
                yield directory, number
