"""A foreign hand on the simulated disk: an editor, a package, an attacker. Nothing it does is durable by itself."""

import os
from collections.abc import Callable

from agent.system.beneath import checked, telling
from agent.system.simulated.calls import SimulatedCalls
from agent.system.simulated.disk import Disk, Node, Rights
from agent.system.watch import ATTRIB, CREATE

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Hand:
    """Changes to files as programs other than ours make them, by the same calls; power can go between any two."""

    def __init__(self, disk: Disk, calls: SimulatedCalls) -> None:
        self._disk = disk
        self._calls = calls

    def edit(
        self,
        path: str,
        content: bytes,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        in_place: bool = False,
        synced: bool = False,
    ) -> None:
        """Put content into a file, as `sed -i` does (new file, renamed over) or `in_place` as `>` does.

        Rights not given stay as they are, 0644 root for a new file. `synced`: the content is fsynced before the rename,
        but not the directory: what chpasswd does. Missing directories are made.
        """
        above, _, name = checked(path).rpartition("/")
        with telling("edit", path):
            self.directory(above or "/")
            found = self._found(path, follow=in_place)
            old = found.rights if found is not None else Rights(mode=0o644, uid=0, gid=0)
            rights = Rights(
                mode=old.mode if mode is None else mode,
                uid=old.uid if uid is None else uid,
                gid=old.gid if gid is None else gid,
            )
            directory = self._calls.follow("/", above or "/", DIRECTORY)
            making = name if in_place else ".%s.swp" % name
            number = self._calls.open(directory, making, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            if content:
                self._calls.write(number, memoryview(content))
            if found is None or not in_place or rights != old:
                self._calls.chown(number, rights.uid, rights.gid)
                self._calls.chmod(number, rights.mode)
            if synced:
                self._calls.fsync(number)
            self._calls.close(number)
            if not in_place:
                self._calls.rename(directory, making, name)
            self._calls.close(directory)

    def directory(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0, volatile: bool = False) -> None:
        """Make a directory with everything above it, where missing; `volatile`: it lives in memory, as /run does."""
        here = self._disk.root
        for name in [part for part in checked(path).split("/") if part]:
            with telling("make the directory", path):
                try:
                    below = self._disk.find(here, name, last=True)
                except FileNotFoundError:
                    below = self._put(here, name, "directory", Rights(mode=mode, uid=uid, gid=gid), volatile)
            here = below

    def link(self, path: str, text: str) -> None:
        """Make a symbolic link, in place of what is there."""
        above, name = self._above(path)
        if name in above.names:
            self.discard(path)
        self._put(above, name, "link", Rights(mode=0o777, uid=0, gid=0)).text = text

    def hard_link(self, path: str, other: str) -> None:
        """Give a file a second name."""
        above, name = self._above(path)
        node = self._disk.find(self._disk.root, other, last=False)
        self._calls.step()
        above.set({name: node})
        node.others += 1
        self._disk.touch(above)

    def special(self, path: str, kind: str, mode: int = 0o600) -> None:
        """Make a socket, fifo or device."""
        above, name = self._above(path)
        self._put(above, name, kind, Rights(mode=mode, uid=0, gid=0))

    def produced(
        self, path: str, content: Callable[[], bytes], accept: Callable[[bytes], None] | None = None, mode: int = 0o444
    ) -> None:
        """Make a file as /proc has: its content is made when it is read, what is written to it is handed over."""
        above, name = self._above(path)
        node = self._put(above, name, "file", Rights(mode=mode, uid=0, gid=0))
        node.produce = content
        node.accept = accept

    def discard(self, path: str) -> None:
        """Remove a file, link or directory with all that is in it; one that is not there is fine."""
        if self._found(checked(path), follow=False) is None:
            return
        with telling("remove", path):
            above, name = self._above(path)
            for below in sorted(above.names[name].names):
                self.discard(path.rstrip("/") + "/" + below)
            self._calls.step()
            self._calls.drop(above, name)

    def rights(self, path: str, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Set owner and permission bits, as chmod and chown do."""
        above, name = self._above(path)
        with telling("set the rights of", path):
            node = self._disk.find(self._disk.root, path, last=True)
        self._calls.step()
        node.rights = Rights(mode=mode, uid=uid, gid=gid)
        self._disk.touch(node)
        self._disk.tell(above, name, ATTRIB)

    def move(self, path: str, name: str) -> None:
        """Give a file or directory another name beside the old one."""
        _, old = self._above(path)
        with telling("move", path):
            number = self._calls.follow("/", path.rpartition("/")[0] or "/", DIRECTORY)
            self._calls.rename(number, old, name)
            self._calls.close(number)

    def _above(self, path: str) -> tuple[Node, str]:
        """Return the directory of a path, made when missing, and the last name."""
        above, _, name = checked(path).rpartition("/")
        self.directory(above or "/")
        return self._disk.find(self._disk.root, above, last=True), name

    def _found(self, path: str, follow: bool) -> Node | None:
        """Return what has a name, or None."""
        try:
            return self._disk.find(self._disk.root, path, last=follow)
        except FileNotFoundError:
            return None

    def _put(self, above: Node, name: str, kind: str, rights: Rights, volatile: bool = False) -> Node:
        """Give a new node a name, in place of what has it."""
        self._calls.step()
        node = self._disk.node(kind, rights, above.volatile or volatile)
        above.set({name: node})
        self._disk.touch(above)
        self._disk.tell(above, name, CREATE)
        return node
