"""A store's database: one SQLite file, or PostgreSQL by its URL.

Statements are SQLAlchemy's, compiled once for the database at hand and run by its driver itself: a collector runs the
same few of them thousands of times a second, and asking through SQLAlchemy each time costs more than the database does.

One writer at a time, on both, from `begin` to `commit`: what was committed before is seen, and records get their
numbers of arrival in the order in which they can be read. What was committed is on the disk.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.elements import ClauseElement

from agent.core.errors import Refused, Unreachable, Unreadable
from provisioning.collector.tables import ALL, record
from provisioning.fleet.tables import checked_place

WAIT = 30_000  # milliseconds for another writer
GONE = 60_000  # milliseconds after which a database gives up a writer who went without a word
LOOPBACK = ("", "localhost", "127.0.0.1", "::1")
NO_SYNC = (
    "the database {} says yes before it has written (fsync is off); switch it on, or records are lost with the power"
)


class Base:
    """One connection, made anew when it was lost. `run` a statement; `begin`, `commit`, `rollback`."""

    def __init__(self, place: Path | str) -> None:
        self.file = isinstance(place, Path)
        self.name = str(place)
        self.engine = _sqlite(place) if isinstance(place, Path) else _postgres(place)
        self._compiled: dict[int, tuple[str, tuple[str, ...] | None, dict[str, Any]]] = {}
        self._held: Any = None
        self._writing = False
        try:
            ALL.create_all(self.engine)
        except SQLAlchemyError as error:
            raise self._unopened(getattr(error, "orig", None) or error) from None

    @property
    def errors(self) -> type[Exception]:
        """What the driver raises."""
        return self.engine.dialect.loaded_dbapi.Error

    @property
    def link(self) -> Any:
        """The driver's own connection; Unreachable when there is none to be had."""
        if self._held is None or self.lost:
            if self._writing:  # never half of a transaction on another connection
                raise Unreachable("the store's database went away; it is tried again")
            try:
                self._held = self.engine.raw_connection()
            except SQLAlchemyError as error:
                raise self._unopened(getattr(error, "orig", None) or error) from None
            except self.errors as error:
                raise self._unopened(error) from None
        return self._held.driver_connection

    @property
    def lost(self) -> bool:
        """True when the connection to the database broke."""
        return not self.file and (self._held is None or bool(self._held.driver_connection.closed))

    def run(self, statement: ClauseElement, **values: object) -> Any:
        """Run one statement with its values; return the driver's cursor."""
        text, order, fixed = self._compiled.get(id(statement)) or self._compile(statement)
        whole = {**fixed, **values}
        return self.link.execute(text, whole if order is None else [whole[name] for name in order])

    def plain(self, words: str, facts: Sequence[int | str]) -> list[tuple[Any, ...]]:
        """Run one plain statement with its values marked `?`; return its rows."""
        cursor = self.link.execute(words if self.file else words.replace("?", "%s"), tuple(facts))
        return [] if cursor.description is None else list(cursor.fetchall())

    def scrub(self) -> None:
        """Write the database's files anew without what was removed; of PostgreSQL's own log we are not the master."""
        if self.file:
            self.link.execute("VACUUM")
            self.link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return
        for table in ALL.sorted_tables:
            self.link.execute(f"VACUUM FULL {table.name}")

    def begin(self) -> None:
        """Become the one writer."""
        self.link.execute("BEGIN IMMEDIATE" if self.file else "BEGIN")
        self._writing = True
        if not self.file:
            self.link.execute(f"LOCK TABLE {record.name} IN SHARE ROW EXCLUSIVE MODE")

    def commit(self) -> None:
        """Let all of it count; it is on the disk then."""
        self.link.execute("COMMIT")
        self._writing = False

    def rollback(self) -> None:
        """Let nothing of it count."""
        self._writing = False
        if self._held is not None and not self.lost:
            self._held.driver_connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        if self._held is not None and not self.lost:
            self._held.driver_connection.close()
        self._held = None
        self.engine.dispose()

    def _compile(self, statement: ClauseElement) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
        made: Any = statement.compile(dialect=self.engine.dialect)
        order = None if made.positiontup is None else tuple(made.positiontup)
        self._compiled[id(statement)] = str(made), order, dict(made.params)
        return self._compiled[id(statement)]

    def _unopened(self, error: object) -> Unreadable | Unreachable:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if self.file:
            return Unreadable(f"the store {self.name} cannot be opened ({said}); check the disk, or restore it")
        return Unreachable(f"the store's database cannot be reached ({said}); start it")


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise Unreadable(f"the store {path} cannot be opened ({error}); check the disk, or restore it") from None
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=NullPool, pool_reset_on_return=None)

    def opened(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for line in (f"busy_timeout = {WAIT}", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {line}")

    event.listen(engine, "connect", opened)
    return engine


def _postgres(place: str) -> Engine:
    url = make_url(checked_place(place, "store")).set(drivername="postgresql+psycopg")
    host = str(url.host or url.query.get("host", ""))
    if not host.startswith("/") and host not in LOOPBACK and url.query.get("sslmode") != "verify-full":
        raise Refused(f"the store's database {host} is on the network; add ?sslmode=verify-full to its URL")
    facts = {"connect_timeout": 10, "tcp_user_timeout": WAIT, "keepalives_idle": 30, "application_name": "privet-fleet"}
    engine = create_engine(
        url, poolclass=NullPool, pool_reset_on_return=None, isolation_level="AUTOCOMMIT", connect_args=facts
    )

    def opened(connection: Any, _record: object) -> None:
        connection.autocommit = True  # we say BEGIN ourselves
        shown = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in ("fsync", "synchronous_commit")}
        if shown["fsync"] == "off":
            raise Refused(NO_SYNC.format(url.database))
        if shown["synchronous_commit"] == "off":
            connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = {WAIT}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {GONE}")

    event.listen(engine, "connect", opened)
    return engine
