"""The calls this door makes to the operating system, one method each.

Everything in `agent.system.durable` goes through one object of this class, so that a test or a simulated device can
count the calls, fail, shorten or kill the k-th one, without patching anything. All raise OSError as the kernel says.
"""

import ctypes
import errno
import mmap
import os
import stat

from agent.system.door import Stat

OPENAT2 = 437  # the same number on every architecture a device of ours has
NO_MAGIC_LINKS = 0x02
NO_LINKS = 0x04
BENEATH = 0x08
IN_ROOT = 0x10

NO_ATTRIBUTE = (errno.ENODATA, errno.EOPNOTSUPP)

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


class _How(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


class Calls:
    """The kernel's own calls. `directory` is an open directory's number, or None for an absolute name."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None

    def open(self, directory: int | None, name: str, flags: int, mode: int = 0) -> int:
        """Open one name in a directory and return its number."""
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=directory)

    def beneath(self, directory: int, path: str, flags: int, links: bool = False) -> int:
        """Open a relative path that must not leave the directory, through no link unless told; ENOSYS: old kernel."""
        return self._openat2(directory, path, flags, BENEATH | NO_MAGIC_LINKS | (0 if links else NO_LINKS))

    def follow(self, root: str, path: str, flags: int) -> int:
        """Open a path as any program sees it, through links; under a root other than "/", links stay inside of it."""
        if root == "/":
            return self.open(None, path, flags)
        directory = self.open(None, root, os.O_PATH | os.O_DIRECTORY)
        try:
            return self._openat2(directory, path, flags, IN_ROOT | NO_MAGIC_LINKS)
        finally:
            os.close(directory)

    def close(self, number: int) -> None:
        """Close an open file."""
        os.close(number)

    def read(self, number: int, count: int) -> bytes:
        """Read up to so many bytes; none at the end."""
        return os.read(number, count)

    def fill(self, number: int, buffer: mmap.mmap) -> int:
        """Read into a buffer that begins on a page, as reading past the kernel's memory needs; 0 at the end."""
        return os.readv(number, [buffer])

    def write(self, number: int, content: memoryview) -> int:
        """Write, and return how much was taken: it may be less than was given."""
        return os.write(number, content)

    def truncate(self, number: int, size: int) -> None:
        """Cut a file back to a size."""
        os.ftruncate(number, size)

    def fsync(self, number: int) -> None:
        """Bring a file's content and rights, or a directory's names, onto the disk."""
        os.fsync(number)

    def datasync(self, number: int) -> None:
        """Bring a file's content and length onto the disk, its times not necessarily."""
        os.fdatasync(number)

    def chmod(self, number: int, mode: int) -> None:
        """Set permission bits."""
        os.fchmod(number, mode)

    def chown(self, number: int, uid: int, gid: int) -> None:
        """Set owner and group."""
        os.fchown(number, uid, gid)

    def attribute(self, number: int, name: str) -> bytes:
        """Return an extended attribute of an open file, b"" when it has none or its disk knows none."""
        try:
            return os.getxattr(number, name)
        except OSError as error:
            if error.errno not in NO_ATTRIBUTE:
                raise
            return b""

    def set_attribute(self, number: int, name: str, value: bytes) -> None:
        """Set an extended attribute of an open file; b"" removes it, one that is not there is fine."""
        if value:
            os.setxattr(number, name, value)
            return
        try:
            os.removexattr(number, name)
        except OSError as error:
            if error.errno not in NO_ATTRIBUTE:
                raise

    def rename(self, directory: int, old: str, new: str) -> None:
        """Give a file in a directory another name there, in place of what had it."""
        os.rename(old, new, src_dir_fd=directory, dst_dir_fd=directory)

    def unlink(self, directory: int, name: str) -> None:
        """Remove a name that is not a directory."""
        os.unlink(name, dir_fd=directory)

    def mkdir(self, directory: int, name: str, mode: int) -> None:
        """Make a directory."""
        os.mkdir(name, mode, dir_fd=directory)

    def names(self, number: int) -> list[str]:
        """List an open directory."""
        return os.listdir(number)

    def stat(self, number: int) -> Stat:
        """Look at an open file."""
        return looked(os.fstat(number))

    def look(self, directory: int, name: str) -> Stat:
        """Look at a name in a directory itself, not behind a link."""
        return looked(os.stat(name, dir_fd=directory, follow_symlinks=False))

    def readlink(self, directory: int, name: str) -> str:
        """Return the text of a symbolic link in a directory."""
        return os.readlink(name, dir_fd=directory)

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes."""
        return os.urandom(count)

    def _openat2(self, directory: int, path: str, flags: int, resolve: int) -> int:
        """Call openat2(2), which libc does not offer by name."""
        if self._library is None:
            self._library = ctypes.CDLL(None, use_errno=True)
        how = _How(flags | os.O_CLOEXEC, 0, resolve)
        number = self._library.syscall(
            ctypes.c_long(OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if number < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
        return int(number)


def looked(found: os.stat_result) -> Stat:
    """Turn the kernel's answer into ours."""
    return Stat(
        kind=KINDS.get(stat.S_IFMT(found.st_mode), "device"),
        mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
        size=found.st_size,
        inode=found.st_ino,
        changed=found.st_ctime_ns,
        names=found.st_nlink,
    )
