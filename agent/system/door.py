"""The door to the operating system: what the real and the simulated device both offer.

Paths are absolute. Everything that changes something is durable when it returns (file synced, renamed, directory
synced, read back), follows no link in any component, and raises only errors of `agent.core.errors`.
"""

from collections.abc import Generator, Sequence
from typing import Protocol, TypeVar

from agent.core.clock import Clock
from agent.core.record import Record

T = TypeVar("T")


class Stat(Record):
    """What a path is: kind, permission bits, owner, size, inode, change time (ns), how many names it has.

    Kinds: file directory link socket device fifo.
    """

    __slots__ = ("changed", "gid", "inode", "kind", "mode", "names", "size", "uid")
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    inode: int
    changed: int
    names: int


class Outcome(Record):
    """What a program did: exit code (negative: killed by that signal), output, error output."""

    __slots__ = ("code", "err", "out")
    code: int
    out: bytes
    err: bytes


class Watch(Protocol):
    """A standing look at directories; an event is (directory, name), name "" when the whole directory is in doubt."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when events wait."""

    def events(self) -> tuple[tuple[str, str], ...]:
        """Take the waiting events, without blocking."""

    def add(self, directories: Sequence[str]) -> None:
        """Watch more directories; one that is not there yet is watched through its nearest existing parent."""

    def close(self) -> None:
        """Stop watching."""


class System(Protocol):
    """One device. `RealSystem` is this machine, `SimulatedSystem` has the same behaviour in memory.

    `boot` is the count of starts that `clock` reports; the guard sets it after it has read its own state.
    """

    boot: int

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Return a file's bytes; Missing, or Unreadable (also when longer than `limit`). Follows links."""

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; Missing or Unreadable."""

    def stat(self, path: str) -> Stat:
        """Look at a path itself, not behind a link; Missing or Unreadable."""

    def target(self, path: str) -> str:
        """Return the text of a symbolic link; Missing, or Unreadable when it is no link."""

    def targets(self, path: str) -> dict[str, str]:
        """Return what every link in a directory says, by its name, without what goes meanwhile; Missing, Unreadable."""

    def write(self, path: str, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Replace a file with new content, all or nothing; makes missing parent directories (0755 root)."""

    def append(self, path: str, content: bytes, mode: int = 0o600, uid: int = 0, gid: int = 0) -> None:
        """Add bytes at the end of a file, made when missing; a power cut meanwhile can leave a part."""

    def remove(self, path: str) -> None:
        """Remove a file or link; one that is not there is fine."""

    def aside(self, path: str) -> str:
        """Give whatever stands at a path a name of its own beside it, durably; returns the new path; Missing."""

    def shred(self, path: str) -> None:
        """Overwrite a file in place with zeros to its full length, then remove it; Missing when it is not there."""

    def overwrite(self, path: str, content: bytes) -> None:
        """Put other bytes in a file in place, exactly as many as it holds."""

    def search(self, path: str, values: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return those of some byte strings that a file or block device holds, sorted; reads it in parts to its end."""

    def own(self, path: str, mode: int, uid: int, gid: int) -> None:
        """Set owner and permission bits of an existing file or directory."""

    def access_lists(self, path: str) -> tuple[bytes, bytes]:
        """Return the access list of a file or directory and the one it gives to what is made in it; b"" for none.

        As the kernel keeps them (xattr(7)); never through a link.
        """

    def list_access(self, path: str, access: bytes, default: bytes) -> None:
        """Give a file or directory these access lists, or take them away (b""); never through a link."""

    def make_directory(self, path: str, mode: int, uid: int = 0, gid: int = 0) -> None:
        """Make a directory with exactly these rights, or set them when it exists."""

    def sync(self, path: str) -> None:
        """Make durable what another program wrote: a file, or a directory's names."""

    def sweep(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Remove the unfinished files of a process that died while writing; once at start. Returns their paths."""

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run a program with only PATH and LC_ALL=C in its environment.

        Unreachable when it is not installed or hangs, Failed when it prints more than 8 MiB.
        """

    def reload(self, unit: str, pidfile: str) -> None:
        """Make a daemon read its configuration again: by systemd where it runs, else SIGHUP to the pid in the file."""

    def talk(self, port: int, conversation: Generator[bytes, bytes, T], seconds: int = 10) -> T:
        """Speak with whoever listens on a TCP port of this device's own loopback, and return what came of it.

        The generator yields what to say (b"": only listen) and is given what was heard since; b"" once the other end
        hung up. Unreachable when nobody listens or no answer comes in time.
        """

    def kernel(self, path: str, content: bytes) -> None:
        """Write a value into a kernel file (/proc/sys/…, /sys/…), in place; Missing or Unreadable."""

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes from the kernel."""

    def clock(self) -> Clock:
        """Look at the clocks."""

    def writers(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Name the programs that were seen writing in these directories lately; empty when that cannot be known."""

    def watch(self, directories: Sequence[str]) -> Watch:
        """Watch directories for changes of the files in them."""
