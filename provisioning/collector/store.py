"""What a collector keeps: records as they came, still sealed, each once; a transaction is on the disk when it ends.

The file alone opens nothing: the epoch keys in it are sealed to the recipient's key, which lies elsewhere. So a copy of
the store is no leak, and forgetting a key record is forgetting its readings.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.core.errors import Failed, Unreadable
from agent.core.record import Record
from provisioning.collector.open import MOST_SEQ, Gap, Place

KEY, PACK, GAP, ODD = 0, 1, 2, 3  # kinds of records: key, readings, gap, opened but not understood
OPERATOR = b""  # the sender of gaps that an operator accepted
SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (id INTEGER PRIMARY KEY, device TEXT NOT NULL, purpose TEXT NOT NULL,
    UNIQUE (device, purpose));
CREATE TABLE IF NOT EXISTS record (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, boot INTEGER NOT NULL,
    seq INTEGER NOT NULL, epoch INTEGER NOT NULL, kind INTEGER NOT NULL, received INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (stream, boot, seq));
CREATE TABLE IF NOT EXISTS epoch (stream INTEGER, boot INTEGER, epoch INTEGER, wrapped BLOB NOT NULL,
    PRIMARY KEY (stream, boot, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sender (stream INTEGER, boot INTEGER, mark BLOB NOT NULL,
    PRIMARY KEY (stream, boot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (stream INTEGER, boot INTEGER, first INTEGER, last INTEGER, count INTEGER NOT NULL,
    mark BLOB NOT NULL, PRIMARY KEY (stream, boot, first, last, mark)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reach (stream INTEGER, boot INTEGER, seq INTEGER NOT NULL,
    PRIMARY KEY (stream, boot)) WITHOUT ROWID;
"""


class Stored(Record):
    """One record of the store: its number of arrival, place, number, epoch, kind, when it came, its sealed body."""

    __slots__ = ("body", "epoch", "id", "kind", "place", "received", "seq")
    id: int
    place: Place
    seq: int
    epoch: int
    kind: int
    received: int
    body: bytes


class Store:
    """One SQLite file (WAL, synchronous=FULL), mode 0600."""

    def __init__(self, path: Path) -> None:
        self._streams: dict[tuple[str, str], int] = {}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.executescript(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise Unreadable(f"the store {path} cannot be opened ({error}); check the disk, or restore it") from None

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it, durably, or nothing; Failed when the disk refuses."""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            self._streams.clear()
            raise Failed(f"the store did not take the records ({error}); check the disk") from None

    def plain(self, words: str, *facts: int | str) -> list[tuple[Any, ...]]:
        """Run one plain statement, its values marked `?`, of a part of the collector that has tables of its own."""
        try:
            return self._base.execute(words, facts).fetchall()
        except sqlite3.Error as error:
            raise Failed(f"the store did not do what it was asked ({error}); check the disk") from None

    def scrub(self) -> None:
        """Leave nothing of what was removed in the files: neither in free pages nor in the log beside them."""
        self.plain("VACUUM")
        self.plain("PRAGMA wal_checkpoint(TRUNCATE)")

    def add(self, place: Place, seq: int, epoch: int, kind: int, received: int, body: bytes) -> bool:
        """Keep a record; False when one with this number is kept already."""
        row = (self._stream(place), place.boot, seq, epoch, kind, received, body)
        sql = "INSERT OR IGNORE INTO record (stream, boot, seq, epoch, kind, received, body) VALUES (?,?,?,?,?,?,?)"
        return self._base.execute(sql, row).rowcount == 1

    def body(self, place: Place, seq: int) -> bytes | None:
        """Return the sealed body kept under a number, None when there is none."""
        sql = "SELECT body FROM record WHERE stream = ? AND boot = ? AND seq = ?"
        found = self._base.execute(sql, (self._stream(place), place.boot, seq)).fetchone()
        return None if found is None else bytes(found[0])

    def add_epoch(self, place: Place, epoch: int, wrapped: bytes) -> bool:
        """Keep the sealed key of an epoch; False when the epoch has one already."""
        row = (self._stream(place), place.boot, epoch, wrapped)
        return self._base.execute("INSERT OR IGNORE INTO epoch VALUES (?,?,?,?)", row).rowcount == 1

    def bind(self, place: Place, mark: bytes) -> bool:
        """Tie a boot to the sender of its first key record that came; False when it is another's."""
        row = (self._stream(place), place.boot, mark)
        self._base.execute("INSERT OR IGNORE INTO sender VALUES (?,?,?)", row)
        return self.sender(place) == mark

    def sender(self, place: Place) -> bytes:
        """Return the mark of the sender of a boot, empty when none of its key records came."""
        sql = "SELECT mark FROM sender WHERE stream = ? AND boot = ?"
        found = self._base.execute(sql, (self._stream(place), place.boot)).fetchone()
        return b"" if found is None else bytes(found[0])

    def wrapped(self, place: Place, epoch: int) -> bytes | None:
        """Return the sealed key of an epoch, None when its key record never came."""
        sql = "SELECT wrapped FROM epoch WHERE stream = ? AND boot = ? AND epoch = ?"
        found = self._base.execute(sql, (self._stream(place), place.boot, epoch)).fetchone()
        return None if found is None else bytes(found[0])

    def newest_epoch(self, place: Place) -> int:
        """Return the newest epoch of a boot whose key we have, 0 when there is none."""
        sql = "SELECT max(epoch) FROM epoch WHERE stream = ? AND boot = ?"
        return int(self._base.execute(sql, (self._stream(place), place.boot)).fetchone()[0] or 0)

    def add_gap(self, place: Place, gap: Gap, mark: bytes) -> None:
        """Keep that a range will never come, says the sender with this mark. The boot is the gap's own.

        It counts for boots of the same sender only: whoever makes up a boot cannot give up another's records in it.
        """
        key = (self._stream(place), gap.boot, mark)
        sql = "SELECT 1 FROM gap WHERE stream = ? AND boot = ? AND mark = ? AND first <= ? AND last >= ?"
        if self._base.execute(sql, (*key, gap.first, gap.last)).fetchone():
            return
        sql = "DELETE FROM gap WHERE stream = ? AND boot = ? AND mark = ? AND first >= ? AND last <= ?"
        self._base.execute(sql, (*key, gap.first, gap.last))  # told again, in a larger one
        row = (*key[:2], gap.first, gap.last, gap.count, mark)
        self._base.execute("INSERT INTO gap VALUES (?,?,?,?,?,?)", row)

    def reach(self, place: Place) -> int:
        """Return up to which number a boot is complete (kept or owned up to), 0 when its beginning is missing."""
        sql = "SELECT seq FROM reach WHERE stream = ? AND boot = ?"
        found = self._base.execute(sql, (self._stream(place), place.boot)).fetchone()
        return 0 if found is None else int(found[0])

    def advance(self, place: Place) -> int:
        """Move the reach over all that is there without a hole; return it."""
        key, mark = (self._stream(place), place.boot), self.sender(place)
        reach = before = self.reach(place)
        while True:
            covered = self._base.execute(
                "SELECT max(last) FROM gap"
                " WHERE stream = ? AND boot = ? AND first <= ? AND last > ? AND mark IN (?, ?)",
                (*key, reach + 1, reach, mark, OPERATOR),
            ).fetchone()[0]
            start, reach = reach, max(reach, int(covered or 0))
            sql = "SELECT seq FROM record WHERE stream = ? AND boot = ? AND seq > ? ORDER BY seq"
            for (seq,) in self._base.execute(sql, (*key, reach)):
                if seq != reach + 1:
                    break
                reach = seq
            if reach == start:
                break
        if reach > before:
            self._base.execute("INSERT OR REPLACE INTO reach VALUES (?,?,?)", (*key, reach))
        return reach

    def records(self, after: int = 0, kind: int | None = PACK) -> Iterator[Stored]:
        """Return records in the order of their arrival, those after number `after`; of one kind, or None for all."""
        sql = (
            "SELECT record.id, device, purpose, boot, seq, epoch, kind, received, body FROM record"
            " JOIN stream ON stream.id = record.stream WHERE record.id > ? AND (kind = ? OR ? IS NULL)"
            " ORDER BY record.id LIMIT 500"
        )
        while rows := self._base.execute(sql, (after, kind, kind)).fetchall():
            for number, device, purpose, boot, seq, epoch, this, received, body in rows:
                place = Place(device=device, purpose=purpose, boot=boot)
                yield Stored(
                    id=number, place=place, seq=seq, epoch=epoch, kind=this, received=received, body=bytes(body)
                )
            after = rows[-1][0]

    def gaps(self) -> tuple[tuple[Place, Gap], ...]:
        """Return every gap a device owned up to, and those an operator accepted."""
        sql = "SELECT device, purpose, boot, first, last, count FROM gap JOIN stream ON stream.id = gap.stream"
        rows = self._base.execute(f"{sql} ORDER BY device, purpose, boot, first, last").fetchall()
        return tuple(
            (Place(device=d, purpose=p, boot=b), Gap(boot=b, first=f, last=t, count=c)) for d, p, b, f, t, c in rows
        )

    def missing(self, place: Place) -> int:
        """Return how many records of a boot, as far as it is complete, a gap stands for because they never came.

        The last number known counts as the end of a boot whose end the device does not know. Of a boot of which nothing
        came at all, no record and no key, it is what a gap says.
        """
        key = (self._stream(place), place.boot)
        if not self.sender(place):
            sql = "SELECT coalesce(max(claim), 0) FROM (SELECT sum(last - first + 1) AS claim FROM gap"
            sql += " WHERE stream = ? AND boot = ? AND last < ? GROUP BY mark)"
            return int(self._base.execute(sql, (*key, MOST_SEQ)).fetchone()[0])
        sql = (
            "SELECT max(seq) FROM (SELECT seq FROM record WHERE stream = ? AND boot = ?"
            " UNION ALL SELECT last FROM gap WHERE stream = ? AND boot = ? AND last < ?)"
        )
        known = int(self._base.execute(sql, (*key, *key, MOST_SEQ)).fetchone()[0] or 0)
        end = min(self.reach(place), known)
        sql = "SELECT count(*) FROM record WHERE stream = ? AND boot = ? AND seq <= ?"
        return end - int(self._base.execute(sql, (*key, end)).fetchone()[0])

    def holes(self) -> tuple[tuple[Place, int, int], ...]:
        """Return where a boot stands still: its place, the first number missing, the first kept behind it."""
        sql = (
            "SELECT device, purpose, record.boot, coalesce(reach.seq, 0) + 1, min(record.seq) FROM record"
            " JOIN stream ON stream.id = record.stream"
            " LEFT JOIN reach ON reach.stream = record.stream AND reach.boot = record.boot"
            " WHERE record.seq > coalesce(reach.seq, 0) GROUP BY record.stream, record.boot"
            " ORDER BY device, purpose, record.boot"
        )
        return tuple((Place(device=d, purpose=p, boot=b), f, s) for d, p, b, f, s in self._base.execute(sql))

    def forget(self, before: int, device: str = "", purpose: str = "") -> int:
        """Remove the readings that came before a time (Unix seconds), of one device or purpose; return how many.

        Their places stay known, so that a late repetition of the same record does not bring them back.
        """
        sql = (
            "UPDATE record SET body = x'', kind = ? WHERE received < ? AND kind IN (?, ?) AND stream IN"
            " (SELECT id FROM stream WHERE (device = ? OR ? = '') AND (purpose = ? OR ? = ''))"
        )
        return self._base.execute(sql, (GAP, before, PACK, ODD, device, device, purpose, purpose)).rowcount

    def over(self, before: int, device: str = "", purpose: str = "") -> int:
        """Return how many records `forget` would empty."""
        sql = (
            "SELECT count(*) FROM record JOIN stream ON stream.id = record.stream WHERE received < ? AND kind IN (?, ?)"
            " AND (device = ? OR ? = '') AND (purpose = ? OR ? = '')"
        )
        return int(self._base.execute(sql, (before, PACK, ODD, device, device, purpose, purpose)).fetchone()[0])

    def _stream(self, place: Place) -> int:
        name = (place.device, place.purpose)
        if name not in self._streams:
            self._base.execute("INSERT OR IGNORE INTO stream (device, purpose) VALUES (?, ?)", name)
            sql = "SELECT id FROM stream WHERE device = ? AND purpose = ?"
            self._streams[name] = int(self._base.execute(sql, name).fetchone()[0])
        return self._streams[name]
