"""The egress ledger: every message that was sealed to leave, why, to whom, how large, and the digest of its content.

Lines are kept in the sealed journal, many in one entry, so that the card hardly notices: at the latest after an hour,
after 200 lines, before the guard ends, and before the queue lets go of what they tell about. So power that goes in
between takes none away that the queue does not still hold; for those the next start writes lines without a digest,
because nobody on the device can read them any more. On a disk that takes nothing lines wait in memory: keeping the
queue from letting go would keep the very room from coming back.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from agent.core import cose
from agent.core.errors import PrivetError
from agent.guard.books import Store
from agent.system.door import System
from agent.system.queue import Queue
from agent.system.segment import Row

KIND = "egress"
LINES = 200  # in one journal entry
SPAN = 3600  # seconds until lines are kept
AGAIN = 300  # seconds between attempts on a disk that takes nothing
MOST = 5000  # lines that wait for such a disk; then the oldest are counted, no more

Line = list[Any]
"""boot, seq, wall time (Unix seconds), bytes of the payload as published, sha256 of what was sealed (or empty)."""


class Ledger:
    """The lines of all purposes."""

    def __init__(self, system: System, store: Store) -> None:
        self.system = system
        self.store = store
        self.lines: dict[tuple[str, tuple[str, ...]], list[Line]] = {}
        self.count = 0
        self.lost = 0
        self.since = 0  # uptime of the oldest line, or of the latest failure
        self.failed = False

    def note(self, purpose: str, to: Sequence[str], rows: Sequence[Row], digests: Sequence[bytes]) -> None:
        """Write lines for records that are queued durably now; `digests` are those of their content, or empty."""
        clock = self.system.clock()
        if not self.count and not self.failed:
            self.since = clock.uptime
        lines = self.lines.setdefault((purpose, tuple(to)), [])
        for row, digest in zip(rows, digests, strict=True):
            lines.append([row.boot, row.seq, clock.wall, len(cose.message(row.boot, row.seq, row.body)), digest])
        self.count += len(rows)
        while self.count > MOST:
            oldest = min((k for k in self.lines if self.lines[k]), key=lambda k: self.lines[k][0][2])
            del self.lines[oldest][0]
            self.count, self.lost = self.count - 1, self.lost + 1

    def missed(self, purpose: str, to: Sequence[str], queue: Queue) -> None:
        """Write lines for what an earlier start queued and could not write lines for."""
        after = tuple(self.store.get(f"egress/{purpose}") or (0, 0))
        while rows := queue.pending((int(after[0]), int(after[1])), LINES):
            self.note(purpose, to, rows, [b""] * len(rows))
            after = (rows[-1].boot, rows[-1].seq)

    def due(self) -> bool:
        """Say whether it is time to keep what waits."""
        if not self.count:
            return False
        age = self.system.clock().uptime - self.since
        return age >= AGAIN if self.failed else self.count >= LINES or age >= SPAN

    def keep(self) -> bool:
        """Keep all lines; on a disk that takes nothing they wait. Says whether none waits any more."""
        for key in list(self.lines):
            purpose, to = key
            while lines := self.lines[key][:LINES]:
                body = {"purpose": purpose, "to": list(to), "lines": lines, "bytes": sum(line[3] for line in lines)}
                last = lines[-1][:2]
                try:
                    self.store.put({f"egress/{purpose}": last}, [(KIND, {**body, "lost": self.lost})])
                except PrivetError:
                    self.failed, self.since = True, self.system.clock().uptime
                    return False
                del self.lines[key][: len(lines)]
                self.count, self.lost = self.count - len(lines), 0
            del self.lines[key]
        self.failed = False
        return True

    def waiting(self) -> list[dict[str, Any]]:
        """Return what is not kept yet, in the form of journal entries' bodies."""
        return [
            {"purpose": purpose, "to": list(to), "lines": lines, "bytes": sum(line[3] for line in lines), "lost": 0}
            for (purpose, to), lines in self.lines.items()
            if lines
        ]


def digest_of(plain: bytes) -> bytes:
    """Return the digest that a line holds of a record's content."""
    return hashlib.sha256(plain).digest()
