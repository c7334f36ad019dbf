"""The store's tables, written once for SQLite and PostgreSQL."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

ALL = MetaData()
NUMBER = BigInteger().with_variant(Integer, "sqlite")


def _number(name: str, primary: bool = False) -> Column[int]:
    return Column(name, NUMBER, primary_key=primary, autoincrement=False, nullable=False)


stream = Table(
    "stream",
    ALL,
    Column("id", NUMBER, primary_key=True),
    Column("device", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    UniqueConstraint("device", "purpose"),
)
record = Table(
    "record",
    ALL,
    Column("id", NUMBER, primary_key=True),  # the order of arrival: numbers are given by one writer after the other
    _number("stream"),
    _number("boot"),
    _number("seq"),
    _number("epoch"),
    _number("kind"),
    _number("received"),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("stream", "boot", "seq"),
    sqlite_autoincrement=True,
)
epoch = Table(
    "epoch",
    ALL,
    _number("stream", primary=True),
    _number("boot", primary=True),
    _number("epoch", primary=True),
    Column("wrapped", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
sender = Table(
    "sender",
    ALL,
    _number("stream", primary=True),
    _number("boot", primary=True),
    Column("mark", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
gap = Table(
    "gap",
    ALL,
    _number("stream", primary=True),
    _number("boot", primary=True),
    _number("first", primary=True),
    _number("last", primary=True),
    _number("count"),
    Column("mark", LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)
reach = Table(
    "reach",
    ALL,
    _number("stream", primary=True),
    _number("boot", primary=True),
    _number("seq"),
    sqlite_with_rowid=False,
)
deletion = Table(  # what owners asked to delete, and was
    "deletion",
    ALL,
    Column("id", Text, primary_key=True),  # hex of a request's name
    Column("device", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    _number("boot"),
    _number("asked"),
    _number("at"),
    _number("deleted"),
    _number("kept"),
    _number("done"),
    Column("request", Text, nullable=False),  # hex of what was signed
)
reader = Table(  # who may read which purpose, and until when that is due for review
    "reader",
    ALL,
    Column("name", Text, primary_key=True),
    Column("purpose", Text, primary_key=True),
    _number("review_by"),
    sqlite_with_rowid=False,
)
seen = Table(  # who read what, and when: from record `first` on, up to `last`, the newest there was
    "seen",
    ALL,
    Column("id", NUMBER, primary_key=True),
    _number("at"),
    Column("name", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("purposes", Text, nullable=False),
    _number("first"),
    _number("last"),
    sqlite_autoincrement=True,
)
