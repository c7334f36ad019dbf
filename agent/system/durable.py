"""Files changed so that a power cut leaves old or new, and so that no planted link is followed.

A change is: open the directory through no link and hold it; new file with a random name beside the old one; rights
before content; content; fsync; rename; *fsync the directory*; look again. A rename without the last fsync is lost when
power goes within seconds, and so is a directory that was made by a process that died before it synced the parent:
therefore a directory's own name is synced once, the first time this object writes beneath it.

Links: reading follows them, as the programs do whose files we judge. Writing never does, in no component; the name
itself may be a link, and is then replaced, not followed. Writing to `/lib/x` on a system where `/lib` is a link is
refused with a sentence that names the link.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from agent.core.errors import Failed, Missing, Unreadable
from agent.system.beneath import DIRECTORY, QUIET, again, checked, split, telling
from agent.system.door import Stat
from agent.system.inplace import CHUNK, InPlace

SPECIAL = stat.S_ISUID | stat.S_ISGID  # RestrictSUIDSGID= of the units takes these away
PREFIX, SUFFIX = ".privet-", ".tmp"  # no program that reads a directory of drop-ins takes a hidden name that ends so

Rights = tuple[int, int, int]
"""Permission bits, owner, group."""


def temporary(name: str) -> bool:
    """Say whether a name is one of our files in the making."""
    return name.startswith(PREFIX) and name.endswith(SUFFIX)


class Files(InPlace):
    """The part of the door that concerns files."""

    # -- looking: follows links, as the programs do that we judge

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Return a file's bytes; Missing, or Unreadable (also when longer than `limit` or no regular file)."""
        with telling("read", path), self._followed(path, os.O_RDONLY | QUIET) as number:
            kind = again(self.calls.stat, number).kind
            if kind != "file":
                raise Unreadable("cannot read %s: it is a %s; name a file" % (path, kind))
            content = self._drain(number, limit)
        if len(content) > limit:
            raise Unreadable("cannot read %s: it is longer than %d bytes; shorten it" % (path, limit))
        return content

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; Missing or Unreadable."""
        with telling("list", path), self._followed(path, DIRECTORY) as number:
            return tuple(sorted(again(self.calls.names, number)))

    def stat(self, path: str) -> Stat:
        """Look at a path itself, not behind a link; Missing or Unreadable."""
        with telling("look at", path), self.beside(path) as (directory, name):
            return again(self.calls.look, directory, name)

    def target(self, path: str) -> str:
        """Return the text of a symbolic link; Missing, or Unreadable when it is no link."""
        with telling("look at", path), self.beside(path) as (directory, name):
            if again(self.calls.look, directory, name).kind != "link":
                raise Unreadable("cannot follow %s: it is no symbolic link; read it instead" % path)
            return again(self.calls.readlink, directory, name)

    def targets(self, path: str) -> dict[str, str]:
        """Return what every link in a directory says, by its name; one that goes meanwhile is left out."""
        found = {}
        with telling("list", path), self._followed(path, DIRECTORY) as number:
            for name in sorted(again(self.calls.names, number)):
                with suppress(OSError):  # it went meanwhile, or is no link
                    found[name] = again(self.calls.readlink, number, name)
        return found

    # -- changing: durable on return, through no link

    def write(self, path: str, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Replace a file, all or nothing; makes missing directories (0755). Failed when it is not there afterwards."""
        with telling("write", path), self.parent(path, make=True) as (directory, name):
            made = self._replace(directory, name, content, (mode, uid, gid))
            self._confirm(directory, name, path, content, made)

    def append(self, path: str, content: bytes, mode: int = 0o600, uid: int = 0, gid: int = 0) -> None:
        """Add bytes at the end of a file, made when missing; on an error the file has its old length again.

        A power cut *before* this returns can leave a part of the bytes: frame them so that a torn end shows.
        """
        with telling("append to", path), self.parent(path, make=True) as (directory, name):
            number, made = self._for_append(directory, name)
            with self.held(number):
                self.alone(directory, number, path)
                try:
                    inode = self._lengthen(number, path, content, (mode, uid, gid))
                    if not self.remembers(path, inode):
                        again(self.calls.fsync, directory)
                except BaseException:
                    if made:
                        with suppress(OSError):
                            again(self.calls.unlink, directory, name)
                    raise
                self.remember(path, inode)

    def remove(self, path: str) -> None:
        """Remove a file or link; one that is not there is fine, and its absence is then made durable too."""
        with telling("remove", path):
            try:
                with self.parent(path, make=False) as (directory, name):
                    again(self.calls.unlink, directory, name)
                    again(self.calls.fsync, directory)
            except FileNotFoundError:  # whoever removed it may not have synced it
                self.sync_nearest(split(path))
            self.forget(path)

    def aside(self, path: str) -> str:
        """Give whatever has a name another one beside it, the first that is free; what it is does not matter."""
        with telling("set aside", path), self.parent(path, make=False) as (directory, name):
            again(self.calls.look, directory, name)
            taken = set(again(self.calls.names, directory))
            number = 1
            while f"{name}.damaged-{number}" in taken:
                number += 1
            again(self.calls.rename, directory, name, f"{name}.damaged-{number}")
            again(self.calls.fsync, directory)
            self.forget()  # what was beneath a directory is elsewhere now
            return f"{path}.damaged-{number}"

    def own(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Set owner and permission bits of a file or directory; on the way it is never looser than old or new."""
        with telling("set the rights of", path), self._plain(path) as (_, number):
            self._give(number, (mode, uid, gid))
            again(self.calls.fsync, number)

    def make_directory(self, path: str, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Make a directory with exactly these rights, or set them when it exists; missing parents become 0755."""
        with telling("make the directory", path), self.parent(path, make=True) as (directory, name):
            with suppress(FileExistsError):
                again(self.calls.mkdir, directory, name, mode & 0o700)
            with self.held(self.child(directory, name, path)) as number:
                self._give(number, (mode, uid, gid))
                again(self.calls.fsync, number)
                again(self.calls.fsync, directory)
                self.remember(path, again(self.calls.stat, number).inode)

    def sync(self, path: str) -> None:
        """Make durable what another program wrote: a file with its name, or a directory's names."""
        with telling("sync", path):
            if not split(path):
                self.sync_nearest(("",))
                return
            with self._plain(path) as (directory, number):
                again(self.calls.fsync, number)
                again(self.calls.fsync, directory)

    def sweep(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Remove what a process left that died while writing; call it once at start, before any write.

        Returns the paths removed. A directory that is not there is fine.
        """
        swept: list[str] = []
        for path in directories:
            with (
                suppress(Missing),
                telling("sweep", path),
                self.held(self.directory(split(path), make=False)) as number,
            ):
                found = [name for name in sorted(again(self.calls.names, number)) if temporary(name)]
                for name in found:
                    with suppress(FileNotFoundError):
                        again(self.calls.unlink, number, name)
                        swept.append(path.rstrip("/") + "/" + name)
                if found:
                    again(self.calls.fsync, number)
        return tuple(swept)

    # -- the parts of a change

    def _replace(self, directory: int, name: str, content: bytes, rights: Rights) -> Stat:
        """Put a whole new file in the place of a name, and return what it is."""
        making = PREFIX + again(self.calls.entropy, 8).hex() + SUFFIX
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        number = again(self.calls.open, directory, making, flags, 0o600)
        try:
            with self.held(number):
                self._give(number, rights)
                self._pour(number, content)
                again(self.calls.fsync, number)
                made = again(self.calls.stat, number)
            again(self.calls.rename, directory, making, name)
        except BaseException:
            with suppress(OSError):  # what cannot be removed now is swept at the next start
                again(self.calls.unlink, directory, making)
            raise
        again(self.calls.fsync, directory)
        return made

    def _confirm(self, directory: int, name: str, path: str, content: bytes, made: Stat) -> None:
        """Look again: the name must lead to the very file that was made, with the same rights and content."""
        number = again(self.calls.open, directory, name, os.O_RDONLY | os.O_NOFOLLOW | QUIET)
        with self.held(number):
            found = again(self.calls.stat, number)
            same = (found.inode, found.mode, found.uid, found.gid) == (made.inode, made.mode, made.uid, made.gid)
            if not same or self._drain(number, len(content)) != content:
                raise Failed("%s is not what was just written; find the program that also writes it, stop it" % path)

    def _for_append(self, directory: int, name: str) -> tuple[int, bool]:
        """Open a file to add to it, and say whether it had to be made."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | QUIET
        try:
            return again(self.calls.open, directory, name, flags), False
        except FileNotFoundError:
            return again(self.calls.open, directory, name, flags | os.O_CREAT | os.O_EXCL, 0o600), True

    def _lengthen(self, number: int, path: str, content: bytes, rights: Rights) -> int:
        """Add the bytes and see them onto the disk, or cut the file back; returns the inode."""
        before = again(self.calls.stat, number)
        if before.kind != "file":
            raise Unreadable("cannot append to %s: it is a %s; name a file" % (path, before.kind))
        if self._give(number, rights):
            again(self.calls.fsync, number)
        try:
            self._pour(number, content)
            again(self.calls.datasync, number)
            self._grown(number, before.size + len(content), path)
        except BaseException:
            with suppress(OSError):
                again(self.calls.truncate, number, before.size)
            raise
        return before.inode

    def _grown(self, number: int, size: int, path: str) -> None:
        """Check that a file has the length it should have after an append."""
        if again(self.calls.stat, number).size != size:
            raise Failed("%s did not grow by what was appended; find the program that also writes it, stop it" % path)

    def _drain(self, number: int, limit: int) -> bytes:
        """Read to the end, but at most one byte more than the limit."""
        parts: list[bytes] = []
        left = limit + 1
        while left > 0:
            part = again(self.calls.read, number, min(left, CHUNK))
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _give(self, number: int, rights: Rights) -> bool:
        """Set the rights of an open file where they differ, through states no looser than old or new; say if it did."""
        mode, uid, gid = rights
        found = again(self.calls.stat, number)
        moving = (found.uid, found.gid) != (uid, gid)
        if moving and found.mode != found.mode & mode:
            self._chmod(number, found.mode & mode)
        if moving:
            again(self.calls.chown, number, uid, gid)
        if moving or found.mode != mode:
            self._chmod(number, mode)
        return moving or found.mode != mode

    def _chmod(self, number: int, mode: int) -> None:
        """Set permission bits; set-user and set-group where the sandbox lets us, which else stay off: stricter."""
        try:
            again(self.calls.chmod, number, mode)
        except PermissionError:
            if not mode & SPECIAL:
                raise
            again(self.calls.chmod, number, mode & ~SPECIAL)
            self.announce("a file or directory gets its rights without the set-user and set-group bits: not here")

    @contextmanager
    def _followed(self, path: str, flags: int) -> Iterator[int]:
        """Hold a file as any program would open it."""
        with self.held(again(self.calls.follow, self.root, checked(path), flags)) as number:
            yield number
