"""Segments of the queue: files of framed records, and how a damaged one is read as far as it is whole.

Layout: provisioning/FORMAT.md section 4.3.
"""

import zlib
from collections.abc import Iterator, Sequence

from agent.core.record import Record

HEAD = 20  # bytes before a body: length, crc, boot, seq


class Row(Record):
    """A sealed record: start count, number within it, CBOR body."""

    __slots__ = ("body", "boot", "seq")
    boot: int
    seq: int
    body: bytes


class Lost(Record):
    """Records given up: from `first` to `last` of a boot, `count` of them (0: not known). To be sealed as a gap."""

    __slots__ = ("boot", "count", "first", "last")
    boot: int
    first: int
    last: int
    count: int


class Segment:
    """One file: its name, boot, first and last own record, how many, how many bytes."""

    __slots__ = ("boot", "count", "first", "last", "name", "size")

    def __init__(self, boot: int, first: int) -> None:
        self.name = "%08x-%016x.seg" % (boot, first)
        self.boot = boot
        self.first = first
        self.last = 0
        self.count = 0
        self.size = 0


def cost(bodies: Sequence[bytes]) -> int:
    """Return how many bytes records of these bodies take."""
    return sum(len(body) + HEAD for body in bodies)


def framed(row: Row) -> bytes:
    """Return a record as it stands in a segment."""
    size, name = len(row.body).to_bytes(4, "big"), row.boot.to_bytes(4, "big") + row.seq.to_bytes(8, "big")
    return size + zlib.crc32(row.body, zlib.crc32(size + name)).to_bytes(4, "big") + name + row.body


def frames(content: bytes, boot: int, at: int = 0) -> Iterator[tuple[Row, int]]:
    """Read the whole frames of a boot, each with the place after it; damaged stretches are skipped."""
    mark = boot.to_bytes(4, "big")
    while at + HEAD <= len(content):
        end = at + HEAD + int.from_bytes(content[at : at + 4], "big")
        crc = int.from_bytes(content[at + 4 : at + 8], "big")
        whole = content[at + 8 : at + 12] == mark and end <= len(content)
        if whole and zlib.crc32(content[at + 8 : end], zlib.crc32(content[at : at + 4])) == crc:
            yield (
                Row(boot=boot, seq=int.from_bytes(content[at + 12 : at + 20], "big"), body=content[at + HEAD : end]),
                end,
            )
            at = end
        else:  # the next place that could be a frame of this boot
            found = content.find(mark, at + 9)
            if found < 0:
                return
            at = found - 8


def segment_of(name: str) -> Segment | None:
    """Return the empty segment of a file name, or None for another name."""
    try:
        one = Segment(int(name[:8], 16), int(name[9:25], 16))
    except ValueError:
        return None
    return one if one.name == name else None


def merged(lost: Sequence[Lost]) -> tuple[Lost, ...]:
    """Join losses that follow each other."""
    made: list[Lost] = []
    for one in lost:
        before = made[-1] if made else None
        if before is not None and (before.boot, before.last + 1) == (one.boot, one.first):
            made[-1] = Lost(boot=one.boot, first=before.first, last=one.last, count=before.count + one.count)
        else:
            made.append(one)
    return tuple(made)
