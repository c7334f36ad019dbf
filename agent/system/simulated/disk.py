"""A disk in memory that tells the truth about power cuts.

Every file and directory exists twice: as programs see it, and as it is on the disk. `fsync` of a file brings its
content and rights over, `fsync` of a directory its names, one does not bring the other. A cut loses what was not
brought over, or keeps it, or tears it, as the test chooses: all of that real disks do.
"""

import errno
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.core.record import Record
from agent.system.door import Stat

if TYPE_CHECKING:
    from agent.system.simulated.volume import Volume

KEPT, LOST, TORN = "kept", "lost", "torn"
LONGEST = 255  # bytes in a name
LINKS = 40  # as many links as Linux follows


class PowerCut(BaseException):
    """The device lost power. No code of the product may go on after it."""


class Ended(BaseException):
    """The simulated process was killed; the device goes on. Nothing that handles errors may handle this."""


class Pending(Record):
    """Something not yet on the disk when power went: kind "content" or "names", and the path."""

    __slots__ = ("kind", "path")
    kind: str
    path: str


Choice = Callable[[Pending], str]
"""Says of each pending thing whether it is KEPT, LOST or (content) TORN."""


class Rights(Record):
    """Permission bits, owner, group."""

    __slots__ = ("gid", "mode", "uid")
    mode: int
    uid: int
    gid: int


class Node:
    """A file, directory or link: what programs see, and what is on the disk."""

    def __init__(self, inode: int, kind: str, rights: Rights, volatile: bool) -> None:
        self.inode = inode
        self.kind = kind
        self.rights = rights
        self.volatile = volatile  # lives in memory (/proc, /run): a cut empties it
        self.content = bytearray()
        self.names: dict[str, Node] = {}
        self.text = ""  # of a link
        self.produce: Callable[[], bytes] | None = None  # makes the content when it is read (/proc)
        self.accept: Callable[[bytes], None] | None = None  # takes what is written (/proc/sys)
        self.changed = 0
        self.others = 0  # further names of a file: hard links
        self.lists: dict[str, bytes] = {}  # access lists
        self.kept_rights = rights
        self.kept_lists: dict[str, bytes] = {}
        self.kept_content = b""
        self.kept_names: dict[str, Node] = {}
        self.pending: list[dict[str, Node | None]] = []  # changes of names, each all or nothing, in order
        self.volume: "Volume | None" = None  # the FAT partition it lies on

    def current(self) -> bytes:
        """Return the content as programs read it."""
        return self.produce() if self.produce is not None else bytes(self.content)

    def stat(self) -> Stat:
        """Return what it is."""
        size = 0 if self.produce is not None else len(self.content)
        mode, uid, gid = self.rights.mode, self.rights.uid, self.rights.gid
        return Stat(
            kind=self.kind,
            mode=mode,
            uid=uid,
            gid=gid,
            size=size,
            inode=self.inode,
            changed=self.changed,
            names=self.others + 1,
        )

    def set(self, change: "dict[str, Node | None]") -> None:
        """Change names as one act."""
        apply(self.names, change)
        self.pending.append(change)
        for node in change.values():
            if node is not None:
                node.volume = self.volume

    def sync(self) -> None:
        """Bring it onto the disk, if it lives on one."""
        if self.volatile:
            return
        before = self.kept_names
        self.kept_rights = self.rights
        self.kept_lists = dict(self.lists)
        self.kept_content = bytes(self.content)
        self.kept_names = dict(self.names)
        self.pending.clear()
        self.settled(before)

    def settled(self, before: "dict[str, Node]") -> None:
        """Let the partition know what came onto the disk: content, and names that are gone."""
        if self.volume is None:
            return
        if self.kind == "file":
            self.volume.lay(self)
        for node in before.values():
            if node not in self.kept_names.values():
                self.volume.release(node)

    def cut(self, path: str, choose: Choice) -> None:
        """Come back as the disk has it."""
        before = dict(self.kept_names)
        if self.kind == "directory":
            for change in self.pending:
                if choose(Pending(kind="names", path=path)) == KEPT:
                    apply(self.kept_names, change)
        elif self.kept_content != bytes(self.content) or self.kept_rights != self.rights:
            fate = choose(Pending(kind="content", path=path))
            if fate == KEPT:
                self.sync()
            elif fate == TORN and self.kept_content != bytes(self.content):
                self.kept_content = torn(self.kept_content, bytes(self.content))
        self.rights = self.kept_rights
        self.lists = dict(self.kept_lists)
        self.content = bytearray(self.kept_content)
        self.names = dict(self.kept_names)
        self.pending.clear()
        self.settled(before)


def apply(names: dict[str, Node], change: "dict[str, Node | None]") -> None:
    """Apply one change of names."""
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def too_long(name: str) -> bool:
    """Say whether a file system refuses a name for its length; four bytes are the most that a letter takes."""
    return len(name) > LONGEST // 4 and len(os.fsencode(name)) > LONGEST


def torn(old: bytes, new: bytes) -> bytes:
    """Return content of which half of the new bytes reached the disk; what was overwritten in place keeps its rest."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    half = same + (len(new) - same) // 2
    return new[:half] + (old[half:] if len(old) == len(new) else b"")


class Disk:
    """The tree of nodes."""

    def __init__(self) -> None:
        self._inodes = 1
        self._moment = 0
        self.capacity: int | None = None  # bytes of content; None is as much as memory
        self.read_only = False
        self.encrypted = False  # what is not on a FAT partition lies on dm-crypt
        self.volumes: "dict[str, Volume]" = {}
        self.listeners: list[Callable[[Node, str, int], None]] = []
        self.root = self.node("directory", Rights(mode=0o755, uid=0, gid=0), False)

    def node(self, kind: str, rights: Rights, volatile: bool) -> Node:
        """Make a node that has no name yet."""
        self._inodes += 1
        made = Node(self._inodes, kind, rights, volatile)
        self.touch(made)
        return made

    def touch(self, node: Node) -> None:
        """Give a node a new change time; it differs from every earlier one."""
        self._moment += 1
        node.changed = self._moment

    def wait(self, span: int) -> None:
        """Let some nanoseconds pass between two changes."""
        self._moment += span

    def tell(self, node: Node, name: str, mask: int) -> None:
        """Let the watchers know that something happened to a name in a directory ("": to the directory itself)."""
        for listener in tuple(self.listeners):
            listener(node, name, mask)

    def find(self, start: Node, path: str, last: bool, links: bool = True) -> Node:
        """Walk a path to its node; see `trace`."""
        return self.trace(start, path, last, links)[-1][1]

    def trace(
        self, start: Node, path: str, last: bool, links: bool = True, beneath: bool = False
    ) -> list[tuple[str, Node]]:
        """Walk a path and return the way: (name, node) from the root.

        `last`: through a link at its end; not `links`: a link anywhere is ELOOP;
        `beneath`: leaving the start is EXDEV. OSError as Linux says.
        """
        way = [("", self.root)] if path.startswith("/") or start is self.root else [("", self.root), ("", start)]
        todo = [name for name in reversed(path.split("/")) if name not in ("", ".")]
        followed = 0
        while todo:
            name = todo.pop()
            here = way[-1][1]
            if here.kind != "directory":
                raise refused(errno.ENOTDIR, path)
            if too_long(name):
                raise refused(errno.ENAMETOOLONG, path)
            if name == "..":
                if beneath and here is start:
                    raise refused(errno.EXDEV, path)
                way = way[:-1] or way
                continue
            node = here.names.get(name)
            if node is None:
                raise refused(errno.ENOENT, path)
            if node.kind == "link" and (todo or last):
                followed += 1
                if not links or followed > LINKS:
                    raise refused(errno.ELOOP, path)
                if node.text.startswith("/"):
                    if beneath:
                        raise refused(errno.EXDEV, path)
                    way = [("", self.root)]
                todo.extend(part for part in reversed(node.text.split("/")) if part not in ("", "."))
                continue
            way.append((name, node))
        return way

    def used(self) -> int:
        """Return the bytes of all content on the disk."""
        return sum(len(node.content) for _, node in self.walk(gone=False) if not node.volatile)

    def walk(self, gone: bool = True) -> "Iterator[tuple[str, Node]]":
        """Go through all nodes, each once; also those whose name is gone for programs but perhaps not on the disk."""
        todo, seen = [("", self.root)], {self.root.inode}
        while todo:
            path, node = todo.pop()
            yield path or "/", node
            below: list[tuple[str, Node | None]] = [*node.names.items()]
            if gone:
                below += node.kept_names.items()
                below += [item for change in node.pending for item in change.items()]
            for name, child in below:
                if child is not None and child.inode not in seen:
                    seen.add(child.inode)
                    todo.append((path + "/" + name, child))

    def settle(self) -> None:
        """Bring everything onto the disk, as sync(1) does."""
        for _, node in tuple(self.walk()):
            node.sync()
        self.tidy()

    def tidy(self) -> None:
        """Let the partitions know what has no name any more."""
        live = {node.inode for _, node in self.walk()}
        for volume in self.volumes.values():
            volume.keep(live)

    def cut(self, choose: Choice) -> None:
        """Lose power and come back: what is not on the disk is kept, lost or torn as chosen; memory is empty."""
        for path, node in tuple(self.walk()):
            if node.volatile:
                node.names = {}
            else:
                node.cut(path, choose)
        self.tidy()


def refused(code: int, path: str) -> OSError:
    """Make the kernel's refusal."""
    return OSError(code, os.strerror(code), path)
