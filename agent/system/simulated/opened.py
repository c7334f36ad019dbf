"""Files that are open on the simulated device: their numbers, the count of calls, and the rights of what is open."""

import errno
from collections.abc import Callable

from agent.system.calls import Calls
from agent.system.simulated.disk import Disk, Ended, Node, PowerCut, Rights, refused
from agent.system.watch import ATTRIB

CUT, DEATH = "cut", "death"


class Open:
    """An open file: what it is, under which name it was opened, and where reading stands."""

    def __init__(self, node: Node, directory: Node, name: str, flags: int) -> None:
        self.node = node
        self.directory = directory
        self.name = name
        self.flags = flags
        self.offset = 0
        self.dirty = False


class OpenFiles(Calls):
    """Calls on what is open. `made` counts all calls; `end_at` is the number of the call that never happens."""

    def __init__(self, disk: Disk, entropy: Callable[[int], bytes], openat2: bool = True) -> None:
        super().__init__()
        self.disk = disk
        self.made = 0
        self.end_at = 0
        self.end_by = CUT
        self._entropy = entropy
        self._has_openat2 = openat2
        self._open: dict[int, Open] = {}
        self._next = 3

    def step(self) -> None:
        """Count one call, and end here when it is the chosen one: after that no call succeeds any more."""
        self.made += 1
        if self.end_at and self.made >= self.end_at:
            raise PowerCut() if self.end_by == CUT else Ended()

    def restart(self) -> None:
        """Begin as a new process: nothing open, nothing chosen."""
        self._open.clear()
        self.end_at = 0

    def still_open(self) -> tuple[str, ...]:
        """Return the names of the files that nobody has closed yet."""
        return tuple(sorted(file.name for file in self._open.values()))

    def chmod(self, number: int, mode: int) -> None:
        """Set permission bits."""
        self.step()
        file = self._at(number)
        rights = file.node.rights
        self._rights(file, Rights(mode=mode, uid=rights.uid, gid=rights.gid))

    def chown(self, number: int, uid: int, gid: int) -> None:
        """Set owner and group."""
        self.step()
        file = self._at(number)
        self._rights(file, Rights(mode=file.node.rights.mode, uid=uid, gid=gid))

    def attribute(self, number: int, name: str) -> bytes:
        """Return an extended attribute of an open file, b"" when it has none; of those there are, access lists."""
        self.step()
        return self._at(number).node.lists.get(name, b"")

    def set_attribute(self, number: int, name: str, value: bytes) -> None:
        """Set an extended attribute of an open file; b"" removes it; only a directory gives one to what is in it."""
        self.step()
        file = self._at(number)
        self._writable(file.node)
        if value and name.endswith("_default") and file.node.kind != "directory":
            raise refused(errno.EACCES, file.name)
        file.node.lists.pop(name, None)
        if value:
            file.node.lists[name] = value
        self._moved_on(file, ATTRIB)

    def _at(self, number: int) -> Open:
        """Return an open file by number."""
        try:
            return self._open[number]
        except KeyError:
            raise refused(errno.EBADF, str(number)) from None

    def _writable(self, node: Node) -> None:
        """Refuse every change on a read-only disk."""
        if self.disk.read_only and not node.volatile:
            raise refused(errno.EROFS, "")

    def _rights(self, file: Open, rights: Rights) -> None:
        """Set the rights of an open file."""
        self._writable(file.node)
        file.node.rights = rights
        self._moved_on(file, ATTRIB)

    def _moved_on(self, file: Open, mask: int) -> None:
        """Note a change of a file and tell the watchers."""
        self.disk.touch(file.node)
        self.disk.tell(file.directory, file.name, mask)
        if file.node.kind == "directory":
            self.disk.tell(file.node, "", mask)
