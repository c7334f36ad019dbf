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


class Pruned(Record):
    """What was let go of at the front: up to which number, its digest, the wall times of the first and the last.

    Kept apart from the chain, with its end; so what is left is verified from there on, and nothing more may be missing.
    """

    __slots__ = ("count", "digest", "since", "until")
    count: int
    digest: bytes
    since: int
    until: int


class Verdict(Record):
    """What a check found: intact entries, damage ("" or one of the four words), the number of the first bad entry."""

    __slots__ = ("count", "damage", "seq")
    count: int
    damage: str
    seq: int


EMPTY = Head(count=0, digest=START)
NOTHING = Pruned(count=0, digest=START, since=0, until=0)
DAY = 86400
MOST = 8 << 20  # bytes that the entries take at most before the oldest go, down to three quarters of it
HARD = 2  # so many times as much is never kept, however young it is: who fills the journal must not fill the disk


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


def overdue(oldest: "Iterable[tuple[int, int]]", kept: int, sure: int, least: int, longest: int) -> int:
    """Return how many of the oldest entries, given as (wall, bytes), are to go.

    `kept`: bytes of all; `sure`: the time that surely has come, so no clock that runs ahead makes an entry old; `least`
    and `longest`: days that an entry stays at least, and at most.
    """
    count, full = 0, kept > MOST
    for wall, size in oldest:
        age = sure - wall
        crowded = kept > HARD * MOST or (full and kept > MOST // 4 * 3 and age >= least * DAY)
        if age <= longest * DAY and not crowded:
            break
        count, kept = count + 1, kept - size
    return count


def prune(gone: Pruned, row: Row, first: Entry, last: Entry) -> Pruned:
    """Return what is gone when everything up to a row goes; first and last are the entries that this is about."""
    since = gone.since if gone.count else first.wall
    return Pruned(count=row.seq, digest=row.digest, since=since, until=last.wall)


def verify(rows: "Iterable[Row]", end: Head, gone: Pruned = NOTHING) -> Verdict:
    """Check rows, in the order they are kept, against the end of the chain; report the first damage.

    What was let go of counts as intact, for the end vouches for it.
    """
    previous, expected = gone.digest, gone.count + 1
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
