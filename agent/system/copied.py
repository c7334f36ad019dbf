"""The state of a device that was started on a disk which takes nothing: read from a copy, written once the disk takes.

SQLite cannot open what waits in its log without writing. So the files are copied into memory as they lie there, log and
all, and opened there. The first change opens the real ones; until that is possible it raises.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from agent.core.errors import PrivetError, Tampered, Unreadable
from agent.core.journal import Entry, Head, Pruned, Verdict
from agent.system.refused import DAMAGED
from agent.system.store import TAILS, Note, Store

COPY = "/run/privet/state-copy.db"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
NOTHING = ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")
PART = 1 << 16


class CopiedStore:
    """A store over a copy, until `real` can be opened; `fresh` says that there was nothing to copy."""

    def __init__(self, copy: Store, real: Callable[[], Store], path: str) -> None:
        self._store = copy
        self._real: Callable[[], Store] | None = real
        self._path = path
        self.fresh = copy.fresh

    @property
    def head(self) -> Head:
        """Return the end of the journal."""
        return self._store.head

    @property
    def gone(self) -> Pruned:
        """Return what was let go of."""
        return self._store.gone

    def get(self, name: str) -> Any:
        """Return a value, or None."""
        return self._store.get(name)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names that begin so."""
        return self._store.keys(prefix)

    def entries(self, since: int = 0, limit: int = 1000) -> tuple[Entry, ...]:
        """Return entries of the journal."""
        return self._store.entries(since, limit)

    def verify(self) -> Verdict:
        """Check the journal."""
        return self._store.verify()

    def sizes(self, limit: int) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of all entries, and of the oldest."""
        return self._store.sizes(limit)

    def prune(self, count: int) -> Pruned:
        """Let the oldest entries go from the real state; from a copy nothing."""
        return self._store.gone if self._real is not None else self._store.prune(count)

    def put(self, changes: Mapping[str, Any], notes: Sequence[Note] = ()) -> tuple[int, ...]:
        """Keep values and entries in the real state; Unreadable as long as that cannot be opened."""
        if self._real is not None:
            copy, self._store = self._store, self._real()
            self._real = None
            copy.close()
            clear(self._path)
        return self._store.put(changes, notes)

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add one entry."""
        return self.put({}, ((kind, body),))[0]

    def close(self) -> None:
        """Close it, and leave no copy."""
        self._store.close()
        if self._real is not None:
            clear(self._path)


def open_copied(
    path: str, opening: Callable[[str], Store], real: Callable[[], Store], copy: str = COPY
) -> tuple[CopiedStore, str]:
    """Return a copy of the state at `path`, opened by `opening`, and what is wrong with it; `real` opens the real one.

    A copy that is damaged is no reason not to start: the device goes on as one that remembers nothing, and has allowed
    and agreed to nothing.
    """
    clear(copy)
    try:
        lay(path, copy)
        return CopiedStore(opening(copy), real, copy), ""
    except Tampered as error:
        clear(copy)
        return CopiedStore(opening(copy), real, copy), str(error)


def lay(path: str, copy: str) -> None:
    """Copy the files of a state, for root alone; Tampered when one of them is no file."""
    try:
        for tail in TAILS:
            with suppress(FileNotFoundError):
                if not stat.S_ISREG(os.lstat(path + tail).st_mode):
                    raise Tampered(DAMAGED.format(f"{path + tail} is no plain file"))
                with open(path + tail, "rb") as source, open(copy + tail, "xb", opener=ours) as target:
                    while part := source.read(PART):
                        target.write(part)
    except OSError as error:
        raise Unreadable(f"the state of this device cannot be read ({error}); check the card") from error


def ours(path: str, flags: int) -> int:
    """Open a new file for its owner alone."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def clear(copy: str) -> None:
    """Remove a copy."""
    for tail in TAILS:
        with suppress(FileNotFoundError):
            os.unlink(copy + tail)


def takes_nothing(error: PrivetError) -> bool:
    """Say whether a state could not be opened because its disk is full, read-only or failing."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in NO_ROOM
    return str(getattr(cause, "sqlite_errorname", "")).startswith(NOTHING)
