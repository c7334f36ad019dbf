"""The registry's tables, and how a database is opened: SQLite in the fleet's directory, or PostgreSQL by its URL.

One writer at a time, on both: SQLite by BEGIN IMMEDIATE, PostgreSQL by a lock on the one row of `chain`. What was
committed is on disk (SQLite: WAL, synchronous=FULL).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from agent.core.errors import BadInput, Failed, Refused, Unreachable, Unreadable

WAIT = 30_000  # milliseconds for another writer
ALL = MetaData()
batches = Table(
    "batches",
    ALL,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("made", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
)
devices = Table(
    "devices",
    ALL,
    Column("id", String(63), primary_key=True),
    Column("batch", Integer, nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("why", Text, nullable=False),
    Column("serial", LargeBinary, index=True),  # keyed digest of the board's serial number, never the number
    Column("boots", BigInteger),  # how often it had started, when it last told
    Column("boot", LargeBinary),  # and a random of that start
    Column("receipt", LargeBinary),
    Column("changed", BigInteger, nullable=False),
)
tokens = Table(
    "tokens",
    ALL,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256: the token itself is on the card alone
    Column("device", String(63), nullable=False, index=True),
    Column("state", String(8), nullable=False),  # open, used, void
    Column("until", BigInteger, nullable=False),
    Column("key", LargeBinary),  # SHA-256 of the public key it was used with
    Column("certificate", String(40)),
)
certificates = Table(
    "certificates",
    ALL,
    Column("serial", String(40), primary_key=True),
    Column("device", String(63), nullable=False, index=True),
    Column("key", LargeBinary, nullable=False, index=True),
    Column("der", LargeBinary, nullable=False),
    Column("begins", BigInteger, nullable=False),
    Column("ends", BigInteger, nullable=False),
    Column("state", String(8), nullable=False, index=True),  # offered, valid, held, revoked
    Column("since", BigInteger, nullable=False),
)
suspects = Table(  # keys that came with another device's token: no certificate until a person says so
    "suspects",
    ALL,
    Column("key", LargeBinary, primary_key=True),
    Column("device", String(63), nullable=False, index=True),
)
shut = Table(  # what a device in quarantine is let back to
    "shut",
    ALL,
    Column("device", String(63), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("why", Text, nullable=False),
)
ledger = Table(
    "ledger",
    ALL,
    Column("row", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("event", String(24), nullable=False),
    Column("device", String(63), index=True),
    Column("facts", Text),  # None once the time to keep it is over; the chain goes over its digest
    Column("digest", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
chain = Table(
    "chain",
    ALL,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rows", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)


def database(place: str, folder: Path) -> Engine:
    """Open the registry at a URL, or in the file registry.db when there is none; make its tables where they lack.

    BadInput for a URL that is none, Refused for one with a password in it, Unreachable when nobody answers.
    """
    engine = _postgres(checked_place(place)) if place else _sqlite(folder / "registry.db")
    with spoken():
        with engine.begin() as connection:
            whole = set(ALL.tables) <= set(inspect(connection).get_table_names())
            whole = whole and connection.execute(select(chain.c.id)).first() is not None
        if not whole:
            _made(engine)
    return engine


def _made(engine: Engine) -> None:
    """Make what lacks; whoever opens the registry at the same moment waits, and finds it there."""
    with engine.execution_options(privet_writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext("privet registry"))))
        ALL.create_all(connection)
        if connection.execute(select(chain.c.id)).first() is None:
            connection.execute(insert(chain).values(id=1, rows=0, hash=bytes(32)))


def checked_place(place: str, what: str = "registry") -> str:
    """Return a database's URL when it is one of PostgreSQL, without a password in it; BadInput or Refused else."""
    try:
        url = make_url(place)
    except ArgumentError:
        raise BadInput(f"{place!r} is no database URL; write it like postgresql:///fleet") from None
    if url.get_backend_name() != "postgresql":
        raise BadInput(f"a {what} is kept in SQLite or PostgreSQL, not in {url.get_backend_name()}; use one of them")
    if url.password:
        raise Refused(f"the {what}'s URL holds a password; put it into ~/.pgpass and leave it out of the URL")
    return place


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open the one transaction that may write; all of it counts, or nothing."""
    with spoken(), engine.execution_options(privet_writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(chain.c.id).with_for_update()).one()
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that only looks."""
    with spoken(), engine.begin() as connection:
        yield connection


@contextmanager
def spoken() -> Iterator[None]:
    """Turn what a database says into one sentence."""
    try:
        yield
    except NoSuchModuleError:
        raise BadInput("the registry's URL names an unknown driver; write it like postgresql:///fleet") from None
    except DBAPIError as error:
        words = str(error.orig).strip().splitlines()
        said = words[0][:200] if words else type(error.orig).__name__
        if error.connection_invalidated or "connect" in said or "unable to open" in said:
            raise Unreachable(f"the registry cannot be reached ({said}); start its database") from error
        raise Failed(f"the registry refused ({said}); look whether its disk is full, then into its database") from error
    except SQLAlchemyError as error:
        raise Failed(f"the registry failed ({type(error).__name__}); look into its database") from error


def _postgres(place: str) -> Engine:
    url = make_url(place).set(drivername="postgresql+psycopg")
    return create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")


def _sqlite(path: Path) -> Engine:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unreadable(f"{path} cannot be opened ({error.strerror}); check the disk and the rights") from None
    engine = create_engine(f"sqlite:///{path}")

    def opened(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for line in (f"busy_timeout={WAIT}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {line}")

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("privet_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine, "connect", opened)
    event.listen(engine, "begin", begun)
    return engine
