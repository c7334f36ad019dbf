"""The simulated kernel's calls: the same methods as `agent.system.calls.Calls`, over the disk in memory."""

import errno
import mmap
import os

from agent.system.door import Stat
from agent.system.simulated.disk import Node, Rights, refused, too_long
from agent.system.simulated.opened import CUT, DEATH, Open, OpenFiles
from agent.system.watch import CLOSE_WRITE, CREATE, DELETE, DELETE_SELF, MODIFY, MOVE_SELF, MOVED_FROM, MOVED_TO

__all__ = ["CUT", "DEATH", "SimulatedCalls"]

UMASK = 0o022


class SimulatedCalls(OpenFiles):
    """All calls on a simulated disk."""

    def open(self, directory: int | None, name: str, flags: int, mode: int = 0) -> int:
        """Open one name in a directory and return its number."""
        self.step()
        start = self.disk.root if directory is None else self._at(directory).node
        try:
            way = self.disk.trace(start, name, last=not flags & os.O_NOFOLLOW)
            if flags & os.O_CREAT and flags & os.O_EXCL:
                raise refused(errno.EEXIST, name)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
            way = [("", start), (name, self._create(start, name, "file", mode & ~UMASK))]
        return self._opened(way, name, flags)

    def beneath(self, directory: int, path: str, flags: int, links: bool = False) -> int:
        """Open a relative path that must not leave the directory, through no link unless told; ENOSYS: old kernel."""
        self.step()
        if not self._has_openat2:
            raise refused(errno.ENOSYS, path)
        start = self._at(directory).node
        return self._opened(self.disk.trace(start, path, last=True, links=links, beneath=True), path, flags)

    def follow(self, root: str, path: str, flags: int) -> int:
        """Open a path as any program sees it, through links; the only root here is "/"."""
        self.step()
        if root != "/":
            raise refused(errno.ENOENT, root)
        return self._opened(self.disk.trace(self.disk.root, path, last=True), path, flags)

    def close(self, number: int) -> None:
        """Close an open file."""
        self.step()
        gone = self._open.pop(number, None)
        if gone is None:
            raise refused(errno.EBADF, str(number))
        if gone.dirty:
            self.disk.tell(gone.directory, gone.name, CLOSE_WRITE)

    def read(self, number: int, count: int) -> bytes:
        """Read up to so many bytes; none at the end."""
        self.step()
        file = self._at(number)
        if file.node.kind == "directory":
            raise refused(errno.EISDIR, file.name)
        part = file.node.current()[file.offset : file.offset + count]
        file.offset += len(part)
        return part

    def fill(self, number: int, buffer: mmap.mmap) -> int:
        """Read into a buffer; 0 at the end."""
        part = self.read(number, len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def write(self, number: int, content: memoryview) -> int:
        """Write, and return how much was taken."""
        self.step()
        file = self._at(number)
        if not file.flags & (os.O_WRONLY | os.O_RDWR):
            raise refused(errno.EBADF, file.name)
        self._writable(file.node)
        if file.node.accept is not None:
            file.node.accept(bytes(content))
            return len(content)
        taken = len(content)
        if self.disk.capacity is not None and not file.node.volatile:
            taken = min(taken, self.disk.capacity - self.disk.used())
            if taken <= 0:
                raise refused(errno.ENOSPC, file.name)
        at = len(file.node.content) if file.flags & os.O_APPEND else file.offset
        if file.node.volume is not None:
            taken = min(taken, file.node.volume.room(file.node) - at)
            if taken <= 0:
                raise refused(errno.ENOSPC, file.name)
        file.node.content[at : at + taken] = content[:taken]
        file.offset = at + taken
        file.dirty = True
        self._moved_on(file, MODIFY)
        return taken

    def truncate(self, number: int, size: int) -> None:
        """Cut a file back to a size."""
        self.step()
        file = self._at(number)
        self._writable(file.node)
        del file.node.content[size:]
        self._moved_on(file, MODIFY)

    def fsync(self, number: int) -> None:
        """Bring a file's content and rights, or a directory's names, onto the disk."""
        self.step()
        self._at(number).node.sync()

    def datasync(self, number: int) -> None:
        """Bring a file's content and length onto the disk."""
        self.step()
        node = self._at(number).node
        node.kept_content = bytes(node.content)
        node.settled({})

    def rename(self, directory: int, old: str, new: str) -> None:
        """Give a file in a directory another name there, in place of what had it."""
        self.step()
        node = self._at(directory).node
        self._writable(node)
        if too_long(new):
            raise refused(errno.ENAMETOOLONG, new)
        moved, taken = node.names.get(old), node.names.get(new)
        if moved is None:
            raise refused(errno.ENOENT, old)
        if taken is not None and taken.kind == "directory" and moved.kind != "directory":
            raise refused(errno.EISDIR, new)
        if moved is not taken:
            node.set({old: None, new: moved})
        self.disk.tell(node, old, MOVED_FROM)
        self.disk.tell(node, new, MOVED_TO)
        if moved.kind == "directory":
            self.disk.tell(moved, "", MOVE_SELF)

    def unlink(self, directory: int, name: str) -> None:
        """Remove a name that is not a directory."""
        self.step()
        node = self._at(directory).node
        gone = node.names.get(name)
        if gone is None:
            raise refused(errno.ENOENT, name)
        if gone.kind == "directory":
            raise refused(errno.EISDIR, name)
        self.drop(node, name)

    def mkdir(self, directory: int, name: str, mode: int) -> None:
        """Make a directory."""
        self.step()
        start = self._at(directory).node
        if name in start.names:
            raise refused(errno.EEXIST, name)
        self._create(start, name, "directory", mode & ~0o022)

    def names(self, number: int) -> list[str]:
        """List an open directory."""
        self.step()
        return list(self._at(number).node.names)

    def stat(self, number: int) -> Stat:
        """Look at an open file."""
        self.step()
        return self._at(number).node.stat()

    def look(self, directory: int, name: str) -> Stat:
        """Look at a name in a directory itself, not behind a link."""
        self.step()
        return self.disk.find(self._at(directory).node, name, last=False).stat()

    def readlink(self, directory: int, name: str) -> str:
        """Return the text of a symbolic link in a directory."""
        self.step()
        node = self.disk.find(self._at(directory).node, name, last=False)
        if node.kind != "link":
            raise refused(errno.EINVAL, name)
        return node.text

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes."""
        return self._entropy(count)

    def drop(self, directory: Node, name: str) -> None:
        """Take a name away, whatever it is, and tell the watchers."""
        self._writable(directory)
        gone = directory.names[name]
        directory.set({name: None})
        self.disk.touch(directory)
        self.disk.tell(directory, name, DELETE)
        if gone.kind == "directory":
            self.disk.tell(gone, "", DELETE_SELF)

    def _opened(self, way: list[tuple[str, Node]], path: str, flags: int) -> int:
        """Give a number to a node that was found."""
        name, node = way[-1]
        if node.kind == "link":
            raise refused(errno.ENOTDIR if flags & os.O_DIRECTORY else errno.ELOOP, path)
        if flags & os.O_DIRECTORY and node.kind != "directory":
            raise refused(errno.ENOTDIR, path)
        writing = bool(flags & (os.O_WRONLY | os.O_RDWR))
        if writing and node.kind == "directory":
            raise refused(errno.EISDIR, path)
        if writing:
            self._writable(node)
        self._next += 1
        self._open[self._next] = file = Open(node, way[-2][1] if len(way) > 1 else node, name, flags)
        if writing and flags & os.O_TRUNC and node.accept is None and node.content:
            node.content.clear()
            file.dirty = True
            self._moved_on(file, MODIFY)
        return self._next

    def _create(self, directory: Node, name: str, kind: str, mode: int) -> Node:
        """Make a node under a name."""
        self._writable(directory)
        if "/" in name or directory.kind != "directory":
            raise refused(errno.ENOENT, name)
        made = self.disk.node(kind, Rights(mode=mode, uid=0, gid=0), directory.volatile)
        directory.set({name: made})
        self.disk.touch(directory)
        self.disk.tell(directory, name, CREATE)
        return made
