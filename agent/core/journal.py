"""The journal's hash chain: every entry's digest covers the one before it, so that a change, a hole or a cut shows."""

import hashlib

from .cbor import decode, encode
from .errors import BadInput
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

START = b"\x00" * 32  # the digest before the first entry
LONGEST = 65536  # bytes of one entry
CHANGED, MISSING, REORDERED, CUT = "changed", "missing", "reordered", "cut off the end"
SHAPE = {"seq": int, "boot": int, "uptime": int, "wall": int, "kind": str, "body": dict}


class Entry(Record):
    """One thing that happened: number, when (start count, seconds since start, wall time), what kind, particulars."""

    __slots__ = ("body", "boot", "kind", "seq", "uptime", "wall")
    seq: int
    boot: int
    uptime: int
    wall: int
    kind: str
    body: "dict[str, Any]"


class Row(Record):
    """An entry as it is kept: number, sealed bytes, digest of the chain up to and with it."""

    __slots__ = ("digest", "sealed", "seq")
    seq: int
    sealed: bytes
    digest: bytes


class Head(Record):
    """The end of the chain, kept apart from it: number of entries and digest of the last one."""

    __slots__ = ("count", "digest")
    count: int
    digest: bytes


class Verdict(Record):
    """What a check found: intact entries, damage ("" or one of the four words), the number of the first bad entry."""

    __slots__ = ("count", "damage", "seq")
    count: int
    damage: str
    seq: int


EMPTY = Head(count=0, digest=START)


def write_entry(entry: Entry) -> bytes:
    """Return the bytes of an entry, ready for sealing; BadInput when too long or when CBOR has no form for it."""
    written = encode({name: getattr(entry, name) for name in SHAPE})
    if len(written) > LONGEST:
        raise BadInput("a journal entry has at most %d bytes; write less into it" % LONGEST)
    return written


def read_entry(written: bytes) -> Entry:
    """Return the entry of opened bytes; BadInput when they are none."""
    table = decode(written, LONGEST)
    if type(table) is not dict or len(table) != len(SHAPE):
        raise BadInput("these bytes are no journal entry; verify the journal")
    for name in SHAPE:
        if type(table.get(name)) is not SHAPE[name]:
            raise BadInput("these bytes are no journal entry; verify the journal")
    return Entry(**table)


def context(seq: int, previous: bytes) -> bytes:
    """Return what the seal of an entry is bound to: its number and all before it."""
    return encode(["privet journal 1", seq, previous])


def link(previous: bytes, seq: int, sealed: bytes) -> bytes:
    """Return the digest of the chain with one more sealed entry."""
    return hashlib.sha256(encode(["privet link 1", previous, seq, sealed])).digest()


def extend(end: Head, sealed: bytes) -> Row:
    """Return the row that follows the end of the chain."""
    seq = end.count + 1
    return Row(seq=seq, sealed=sealed, digest=link(end.digest, seq, sealed))


def verify(rows: "Iterable[Row]", end: Head) -> Verdict:
    """Check rows, in the order they are kept, against the end of the chain; report the first damage."""
    previous, expected = START, 1
    left = iter(rows)
    for row in left:
        if row.seq != expected:
            later = row.seq < expected or any([other.seq == expected for other in left])
            return Verdict(count=expected - 1, damage=REORDERED if later else MISSING, seq=expected)
        if link(previous, row.seq, row.sealed) != row.digest:
            return Verdict(count=expected - 1, damage=CHANGED, seq=row.seq)
        previous, expected = row.digest, expected + 1
    if expected <= end.count:
        return Verdict(count=expected - 1, damage=CUT, seq=expected)
    if expected - 1 > end.count or previous != end.digest:
        seq = end.count + 1 if expected - 1 > end.count else end.count
        return Verdict(count=seq - 1, damage=CHANGED, seq=seq)
    return Verdict(count=expected - 1, damage="", seq=0)
