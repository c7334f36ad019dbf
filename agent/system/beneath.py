"""Ways into directories that no planted link can bend, and the sentences for when the system says no.

A directory to be written in is reached from a held handle of the root, by openat2(2) with RESOLVE_BENEATH,
NO_SYMLINKS and NO_MAGICLINKS. Where the kernel refuses that call, the path is walked name by name with O_NOFOLLOW and
O_DIRECTORY, each from the handle before it, which is just as tight (a plain path has no `..`) and is announced once.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

from agent.core.errors import BadInput, Missing, PrivetError, Unreadable
from agent.system.calls import Calls
from agent.system.links import straight

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
QUIET = os.O_NONBLOCK | os.O_NOCTTY  # opening a pipe or a terminal by mistake neither waits nor adopts it
REMEMBERED = 512  # how many names known to be on the disk are kept in mind

ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; check the card, then mount it for writing",
    errno.EIO: "the disk reports an error; save what you can and replace the card",
    errno.EACCES: "this user may not; run it as root",
    errno.EPERM: "this user may not, or the file is locked against change; run it as root, see lsattr",
    errno.ELOOP: "a symbolic link is in the way, and writing follows none; remove it or name the real path",
    errno.ENOTDIR: "a part of the path is not a directory; correct the path",
    errno.EISDIR: "it is a directory; name a file",
    errno.ENAMETOOLONG: "the name is too long; shorten it",
    errno.EMFILE: "too many files are open; restart the program",
    errno.ENFILE: "too many files are open on this device; restart it",
    errno.EINVAL: "the system does not take this value here; correct it",
}

P = ParamSpec("P")
T = TypeVar("T")


def again(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a call, once more whenever a signal interrupts it."""
    while True:
        try:
            return call(*args, **kwargs)
        except InterruptedError:
            continue


def said(verb: str, path: str, error: OSError) -> PrivetError:
    """Put the kernel's refusal into a sentence: what happened; what to do next."""
    if error.errno == errno.ENOENT:
        return Missing("%s is not there; check the path" % path)
    why = ADVICE.get(error.errno or 0, "%s; correct that and try again" % os.strerror(error.errno or 0))
    return Unreadable("cannot %s %s: %s" % (verb, path, why))


@contextmanager
def telling(verb: str, path: str) -> Iterator[None]:
    """Turn every OSError inside into one of ours."""
    try:
        yield
    except OSError as error:
        raise said(verb, path, error) from error


def checked(path: str) -> str:
    """Return an absolute path the kernel can take; BadInput otherwise."""
    try:
        plain = path.startswith("/") and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        plain = False
    if not plain:
        raise BadInput("%r is not an absolute path; begin it with /" % path)
    return path


def split(path: str) -> tuple[str, ...]:
    """Return the names of an absolute path to be written; BadInput when it is relative or has `..`, `.` or `//`."""
    names = tuple(checked(path)[1:].split("/")) if path != "/" else ()
    if any(name in ("", ".", "..") for name in names):
        raise BadInput("%r is not a plain path; write it without .., . and double or closing slashes" % path)
    return names


def on_stderr(sentence: str) -> None:
    """Announce something the operator should know; the service's journal takes it from here."""
    sys.stderr.write("privet: %s\n" % sentence)


def walked(sentence: str) -> None:
    """Announce, but for openat2: the units take it away on purpose (RestrictSUIDSGID=), and walking is as tight."""
    if "openat2" not in sentence:
        on_stderr(sentence)


class Beneath:
    """Handles of directories beneath a root. `root` is a prefix for tests; on a device it is "/"."""

    def __init__(self, calls: Calls, root: str = "/", announce: Callable[[str], None] = on_stderr) -> None:
        self.calls = calls
        self.root = root
        self.announce = announce
        self._openat2 = True
        self._synced: dict[str, int] = {}  # path -> inode: names this object has seen onto the disk

    @contextmanager
    def held(self, number: int) -> Iterator[int]:
        """Close an open file at the end, whatever happens; what close itself reports comes too late to matter."""
        try:
            yield number
        finally:
            with suppress(OSError):  # never again after EINTR: the number may already be someone else's
                self.calls.close(number)

    @contextmanager
    def parent(self, path: str, make: bool) -> Iterator[tuple[int, str]]:
        """Hold the directory a path is in, reached through no link; gives its number and the last name."""
        names = split(path)
        if not names:
            raise Unreadable("cannot change /: it is the root; name something in it")
        with self.held(self.directory(names[:-1], make)) as number:
            yield number, names[-1]

    @contextmanager
    def beside(self, path: str) -> Iterator[tuple[int, str]]:
        """Hold the directory a path is in, reached as any program reaches it; for looking only."""
        above, _, name = checked(path).rstrip("/").rpartition("/")
        number = again(self.calls.follow, self.root, above or "/", os.O_PATH | os.O_DIRECTORY)
        with self.held(number):
            yield number, name or "."

    def directory(self, names: tuple[str, ...], make: bool) -> int:
        """Open a directory to write in, making what is missing when told; the caller closes it."""
        root = again(self.calls.open, None, self.root, DIRECTORY)
        if not names:
            return root
        with self.held(root):
            number = self._known(root, names)
            return self._walk(root, names, make) if number is None else number

    def file(self, directory: int, names: tuple[str, ...], flags: int, links: bool) -> int:
        """Open a file further down, never outside; through links only where told."""
        if self._openat2:
            try:
                return again(self.calls.beneath, directory, "/".join(names), flags, links=links)
            except OSError as error:
                self._old_kernel(error)
        names = straight(self.calls, directory, names) if links else names
        here = directory
        for name in names[:-1]:
            above = here
            try:
                here = again(self.calls.open, above, name, DIRECTORY | os.O_NOFOLLOW)
            finally:
                self._let_go(above, directory)
        try:
            return again(self.calls.open, here, names[-1], flags | os.O_NOFOLLOW)
        finally:
            self._let_go(here, directory)

    def child(self, directory: int, name: str, path: str) -> int:
        """Open a directory in a directory, or say which link is in the way."""
        try:
            return self._step(directory, name)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            if again(self.calls.look, directory, name).kind != "link":
                raise
            text = again(self.calls.readlink, directory, name)
            raise Unreadable(
                "cannot write through %s: it is a symbolic link to %s, and writing follows none; "
                "name the real path or remove the link" % (path, text)
            ) from error

    def sync_nearest(self, names: tuple[str, ...]) -> None:
        """Make durable that something is gone whose directory is gone too: sync the nearest one that is there."""
        for depth in range(len(names) - 1, -1, -1):
            try:
                number = self.directory(names[:depth], make=False)
            except FileNotFoundError:
                continue
            with self.held(number):
                again(self.calls.fsync, number)
            return

    def remember(self, path: str, inode: int) -> None:
        """Keep in mind that this name is on the disk."""
        if len(self._synced) >= REMEMBERED:
            self._synced.clear()
        self._synced[path] = inode

    def remembers(self, path: str, inode: int) -> bool:
        """Say whether this very file is known to have its name on the disk."""
        return self._synced.get(path) == inode

    def forget(self, path: str = "") -> None:
        """Forget one name, or all (the process is new)."""
        if path:
            self._synced.pop(path, None)
        else:
            self._synced.clear()

    def _known(self, root: int, names: tuple[str, ...]) -> int | None:
        """Open a directory in one call when its whole way is known to be on the disk; None when it is not so."""
        path = "/" + "/".join(names)
        if not self._openat2 or path not in self._synced:
            return None
        try:
            number = again(self.calls.beneath, root, path[1:], DIRECTORY)
        except OSError:
            return None  # the walk finds out what is wrong
        known = False
        try:
            known = self.remembers(path, again(self.calls.stat, number).inode)
        finally:
            if not known:
                self._let_go(number, root)
        return number if known else None

    def _walk(self, root: int, names: tuple[str, ...], make: bool) -> int:
        """Go down name by name, each from the handle before, and see every name on the way onto the disk once."""
        here, path = root, ""
        for name in names:
            above, path = here, path + "/" + name
            try:
                here = self._enter(above, name, path, make)
            finally:
                self._let_go(above, root)
        return here

    def _enter(self, above: int, name: str, path: str, make: bool) -> int:
        """Open one directory of the way, made when missing and told so."""
        try:
            number = self.child(above, name, path)
        except FileNotFoundError:
            if not make:
                raise
            number = self._made(above, name, path)
        try:
            inode = again(self.calls.stat, number).inode
            if not self.remembers(path, inode):
                self._sync_above(above)
                self.remember(path, inode)
        except BaseException:
            self._let_go(number, above)
            raise
        return number

    def _made(self, above: int, name: str, path: str) -> int:
        """Make one missing directory, 0755 whatever the umask."""
        with suppress(FileExistsError):  # someone was faster: whatever it is, child() judges it
            again(self.calls.mkdir, above, name, 0o755)
        number = self.child(above, name, path)
        try:
            if again(self.calls.stat, number).mode != 0o755:
                again(self.calls.chmod, number, 0o755)
        except BaseException:
            self._let_go(number, above)
            raise
        return number

    def _sync_above(self, above: int) -> None:
        """Sync the directory that holds a directory; proc and squashfs have no names to lose."""
        try:
            again(self.calls.fsync, above)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def _step(self, directory: int, name: str) -> int:
        """Open a directory in a directory, not through a link, by openat2 or without it."""
        if self._openat2:
            try:
                return again(self.calls.beneath, directory, name, DIRECTORY)
            except OSError as error:
                self._old_kernel(error)
        return again(self.calls.open, directory, name, DIRECTORY | os.O_NOFOLLOW)

    def _old_kernel(self, error: OSError) -> None:
        """Do without openat2 from now on when that is what the error says; else raise it."""
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # EPERM: a sandbox that does not know the call
            raise error
        self._openat2 = False
        self.announce("this kernel or sandbox has no openat2; paths are walked name by name instead")

    def _let_go(self, number: int, kept: int) -> None:
        """Close a handle of the way, but not the one the way began with."""
        if number != kept:
            with suppress(OSError):
                self.calls.close(number)
