"""The device's memory: values and the journal in SQLite, sealed before they touch the disk, together or not at all.

Every change renews the *ending*: a sealed record of how many journal entries there are, the digest of the last one,
and a digest over all values. So a value put back, an entry changed or a tail cut off shows. Damage never loosens: a
store that cannot be trusted is `Tampered`, and `recover` sets it aside and begins an empty one, in which no waiver and
no consent exists, so every setting is back at its baseline and nothing is collected.
"""

import hashlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from agent.core import cbor, journal
from agent.core.clock import Clock
from agent.core.errors import BadInput, Tampered
from agent.core.journal import EMPTY, NOTHING, Entry, Head, Pruned, Row, Verdict
from agent.system.refused import DAMAGED, ordinary, sync_directory, told
from agent.system.vault import Vault

MEMORY = ":memory:"
TAILS = ("", "-journal", "-wal", "-shm")
SCHEMA = (
    "CREATE TABLE value (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE entry (seq INTEGER PRIMARY KEY, sealed BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE ending (id INTEGER PRIMARY KEY CHECK (id = 1), sealed BLOB NOT NULL)",
)
# FULL: with NORMAL, 37 of 60 power cuts lost rows reported safe. EXCLUSIVE: one guard only, and no shared memory file.
# The cache in KiB: what is kept is read once, at the start.
PRAGMAS = (
    "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "journal_size_limit=1048576", "cache_size=-128",
)  # fmt: skip
# CAST: SQLite keeps in a column what it is given; whatever somebody put there is bytes to us, and then not genuine.
ENTRIES = "SELECT seq, CAST(sealed AS BLOB), CAST(digest AS BLOB) FROM entry"
VALUES = "SELECT CAST(name AS BLOB), CAST(sealed AS BLOB) FROM value"
END = "INSERT OR REPLACE INTO ending VALUES (1, ?)"
ENDING = cbor.encode(["privet ending 1"])

Note = tuple[str, Mapping[str, Any]]
"""A journal entry to be: its kind and its particulars."""


class Store:
    """Sealed values by name, and the journal. One process at a time; `fresh` says that it was made just now."""

    def __init__(self, path: str, vault: Vault, clock: Callable[[], Clock]) -> None:
        self._path = path
        self._vault = vault
        self._clock = clock
        self._values: dict[str, bytes] = {}
        self._digests: dict[str, bytes] = {}
        self.head: Head = EMPTY
        self.gone: Pruned = NOTHING
        self.fresh = False
        with told():
            self._rows = self._connect()
        try:
            with told():
                self._load()
        except BaseException:
            self._rows.close()
            raise

    # -- values

    def get(self, name: str) -> Any:
        """Return a value, or None; from memory, so no vault is woken."""
        found = self._values.get(name)
        return None if found is None else cbor.decode(found)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the sorted names that begin so."""
        return tuple(sorted(name for name in self._values if name.startswith(prefix)))

    def put(self, changes: Mapping[str, Any], notes: Sequence[Note] = ()) -> tuple[int, ...]:
        """Set values (None removes) and add journal entries, in one durable transaction; return the entries' numbers.

        On an error nothing has changed, neither on the disk nor here.
        """
        if not changes and not notes:
            return ()
        values, digests, sealed = dict(self._values), dict(self._digests), {}
        for name, value in changes.items():
            values.pop(name, None), digests.pop(name, None)
            if value is not None:
                values[name] = plain(name, value)
                sealed[name] = self._vault.seal(values[name], place(name))
                digests[name] = hashlib.sha256(sealed[name]).digest()
        rows, head = self._linked(notes)
        ending = self._ending(head, self.gone, digests)
        with told(), self._transaction() as run:
            for name in changes:
                run("DELETE FROM value WHERE name = ?", (name,))
            for name, content in sealed.items():
                run("INSERT INTO value VALUES (?, ?)", (name, content))
            for row in rows:
                run("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (row.seq, row.sealed, row.digest))
            run(END, (ending,))
        self._values, self._digests, self.head = values, digests, head
        return tuple(row.seq for row in rows)

    # -- journal

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add one journal entry and return its number."""
        return self.put({}, [(kind, body)])[0]

    def entries(self, since: int = 0, limit: int = 1000) -> tuple[Entry, ...]:
        """Return up to `limit` entries whose number is greater than `since`; Tampered at one that does not open."""
        since = max(min(since, self.head.count), self.gone.count)  # SQLite has no room for every number
        with told():
            previous = self._digest_of(since)
            found = self._rows.execute(ENTRIES + " WHERE seq > ? ORDER BY seq LIMIT ?", (since, limit)).fetchall()
        opened = []
        for seq, sealed, digest in found:
            opened.append(journal.read_entry(self._vault.open(sealed, journal.context(seq, previous))))
            previous = digest
        return tuple(opened)

    def verify(self) -> Verdict:
        """Check the whole journal, chain and seals, against the sealed ending; reports the first damage."""
        with told():
            rows = self._rows.execute(ENTRIES + " ORDER BY rowid")
            verdict = journal.verify((Row(seq=s, sealed=c, digest=d) for s, c, d in rows), self.head, self.gone)
        if verdict.damage:
            return verdict
        done = self.gone.count
        while done < self.head.count:
            try:
                done += len(self.entries(done, 100))
            except (Tampered, BadInput):
                return self._first_sealed(done)
        return verdict

    def sizes(self, limit: int) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of all sealed entries, and of up to so many of the oldest."""
        with told():
            whole = self._rows.execute("SELECT total(length(sealed)) FROM entry").fetchone()[0]
            rows = self._rows.execute("SELECT length(sealed) FROM entry ORDER BY seq LIMIT ?", (limit,)).fetchall()
        return int(whole), tuple(size for (size,) in rows)

    def prune(self, count: int) -> Pruned:
        """Let the oldest entries go, as one durable step, journaled, their bytes overwritten; return what is gone."""
        first, upto = self.gone.count + 1, min(self.gone.count + count, self.head.count)
        if upto < first:
            return self.gone
        (begin,), (last,) = self.entries(first - 1, 1), self.entries(upto - 1, 1)
        gone = journal.prune(self.gone, Row(seq=upto, sealed=b"", digest=self._digest_of(upto)), begin, last)
        facts = {"first": first, "last": upto, "since": begin.wall, "until": last.wall, "digest": gone.digest}
        rows, head = self._linked([("pruned", facts)])
        ending = self._ending(head, gone, self._digests)
        with told():
            self._rows.execute("PRAGMA secure_delete=ON")
            try:
                with self._transaction() as run:
                    run("DELETE FROM entry WHERE seq <= ?", (upto,))
                    run("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (rows[0].seq, rows[0].sealed, rows[0].digest))
                    run(END, (ending,))
            finally:
                self._rows.execute("PRAGMA secure_delete=OFF")
        self.gone, self.head = gone, head
        return gone

    def close(self) -> None:
        """Close the database."""
        with told():
            self._rows.close()

    @classmethod
    def recover(cls, path: str, vault: Vault, clock: Callable[[], Clock], cause: str) -> Self:
        """Set a damaged store aside and begin an empty one, whose first entry says so and names what was kept."""
        number = next(n for n in itertools.count(1) if not os.path.lexists(f"{path}.damaged-{n}"))
        with told():
            for tail in TAILS:
                if os.path.lexists(path + tail):
                    os.rename(path + tail, f"{path}.damaged-{number}{tail}")
            sync_directory(path)
        made = cls(path, vault, clock)
        made.append("recovered", {"cause": cause, "kept": os.path.basename(path) + f".damaged-{number}"})
        return made

    # -- within

    def _connect(self) -> sqlite3.Connection:
        """Open the file, made for root alone."""
        if self._path != MEMORY:
            for tail in TAILS:
                ordinary(self._path + tail)
            number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.fchmod(number, 0o600)
            os.close(number)
        rows = sqlite3.connect(self._path, isolation_level=None, timeout=0.3)
        try:
            for pragma in PRAGMAS:
                rows.execute("PRAGMA " + pragma)
            rows.execute("BEGIN EXCLUSIVE")
            rows.execute("COMMIT")
        except BaseException:
            rows.close()
            raise
        return rows

    def _load(self) -> None:
        """Read and check everything but the journal's entries, or make an empty store."""
        if not self._rows.execute("SELECT 1 FROM sqlite_schema").fetchone():
            self._make()
        if self._rows.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise Tampered(DAMAGED.format("its pages are broken"))
        ending = self._rows.execute("SELECT CAST(sealed AS BLOB) FROM ending").fetchone()
        if ending is None:
            raise Tampered(DAMAGED.format("its ending is missing"))
        count, digest, sum_of_values, *gone = cbor.decode(self._vault.open(ending[0], ENDING))
        for raw, sealed in self._rows.execute(VALUES):
            name = raw.decode(errors="replace")  # a changed name does not open
            self._values[name] = self._vault.open(sealed, place(name))
            self._digests[name] = hashlib.sha256(sealed).digest()
        if summed(self._digests) != sum_of_values:
            raise Tampered(DAMAGED.format("a value was removed, or put back to what it once was"))
        self.head = Head(count=count, digest=digest)
        self.gone = Pruned(count=gone[0], digest=gone[1], since=gone[2], until=gone[3]) if gone else NOTHING

    def _ending(self, head: Head, gone: Pruned, digests: Mapping[str, bytes]) -> bytes:
        """Seal the end of the chain, what was let go of before its beginning, and the digest over all values."""
        front = [gone.count, gone.digest, gone.since, gone.until] if gone.count else []
        return self._vault.seal(cbor.encode([head.count, head.digest, summed(digests), *front]), ENDING)

    def _make(self) -> None:
        """Lay the tables of an empty store, ending included, as one durable step."""
        ending = self._ending(EMPTY, NOTHING, {})
        with self._transaction() as run:
            for statement in SCHEMA:
                run(statement, ())
            run("INSERT INTO ending VALUES (1, ?)", (ending,))
        if self._path != MEMORY:
            sync_directory(self._path)
        self.fresh = True

    @contextmanager
    def _transaction(self) -> Iterator[Callable[[str, tuple[Any, ...]], object]]:
        """Do all or nothing."""
        self._rows.execute("BEGIN IMMEDIATE")
        try:
            yield self._rows.execute
            self._rows.execute("COMMIT")
        except BaseException:
            if self._rows.in_transaction:
                self._rows.execute("ROLLBACK")
            raise

    def _linked(self, notes: Sequence[Note]) -> tuple[list[Row], Head]:
        """Seal new entries onto the chain, in memory."""
        rows, head, now = [], self.head, self._clock()
        for kind, body in notes:
            entry = Entry(
                seq=head.count + 1, boot=now.boot, uptime=now.uptime, wall=now.wall, kind=kind, body=dict(body)
            )
            bound = journal.context(entry.seq, head.digest)
            rows.append(journal.extend(head, self._vault.seal(journal.write_entry(entry), bound)))
            head = Head(count=rows[-1].seq, digest=rows[-1].digest)
        return rows, head

    def _digest_of(self, seq: int) -> bytes:
        """Return the chain's digest at an entry."""
        if seq == self.gone.count:
            return self.gone.digest
        row = self._rows.execute("SELECT CAST(digest AS BLOB) FROM entry WHERE seq = ?", (seq,)).fetchone()
        return row[0] if row else journal.START

    def _first_sealed(self, since: int) -> Verdict:
        """Find the first entry after `since` that does not open."""
        while True:
            try:
                self.entries(since, 1)
            except (Tampered, BadInput):
                return Verdict(count=since, damage=journal.CHANGED, seq=since + 1)
            since += 1


def place(name: str) -> bytes:
    """Return what the seal of a value is bound to."""
    return cbor.encode(["privet value 1", name])


def plain(name: str, value: Any) -> bytes:
    """Return the bytes of a value; BadInput when it is too long or CBOR has no form for it."""
    content = cbor.encode(value)
    if len(content) > cbor.LIMIT:
        raise BadInput(f"the value {name} has more than {cbor.LIMIT} bytes; keep less in it")
    return content


def summed(digests: Mapping[str, bytes]) -> bytes:
    """Return the digest over all values."""
    return hashlib.sha256(cbor.encode(dict(digests))).digest()
