"""Every block that a file system writes, in order, and every state that a power cut may leave of them.

The work is done in a virtual machine on small cards of its own, one for each workload. QEMU keeps a record of every
write and every flush that reaches a card (its `blklogwrites` layer). What a card may hold after a cut follows from the
record: all that was written before the last flush that was finished, and of what came after it anything, nothing, or a
part. Form of the record: kernel documentation, admin-guide/device-mapper/log-writes. Sectors have 512 bytes.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.crash.workloads import MARKS, SECTOR

MAGIC = 0x6A736677736872
FLUSH, FORCE, DISCARD = 1, 2, 4
SUPERBLOCK = (1024, 2048)  # of ext4, from and to


class Entry(NamedTuple):
    """One thing that happened to a card: where (bytes), what was written there, whether it was a flush."""

    place: int
    content: bytes
    flush: bool


def entries(record: Path) -> Iterator[Entry]:
    """Read a record."""
    with record.open("rb") as file:
        magic, version, count, sector = struct.unpack("<QQQI", file.read(28))
        if (magic, version, sector) != (MAGIC, 1, SECTOR):
            raise RuntimeError(f"this is no record of blocks: {magic:x}, version {version}, sectors of {sector}")
        file.seek(SECTOR)
        for _ in range(count):
            place, sectors, flags, _length = struct.unpack("<QQQQ", file.read(SECTOR)[:32])
            if flags & DISCARD:
                raise RuntimeError("the file system discarded blocks; what a card holds then is not known")
            yield Entry(place * SECTOR, file.read(sectors * SECTOR), bool(flags & (FLUSH | FORCE)))


class Chance:
    """Choices that follow from one seed, so that a failure can be tried again."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.drawn = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 up to but not including a limit."""
        self.drawn += 1
        block = hashlib.sha256(f"{self.seed}/{self.drawn}".encode()).digest()
        return int.from_bytes(block[:8], "big") % limit


Choice = Callable[[list[Entry], Chance], list[Entry]]
"""Which of the writes since the last flush reached the card, and in what part."""


def torn(pending: list[Entry], chance: Chance) -> list[Entry]:
    """All, but of the last one some sectors only."""
    if not pending:
        return []
    last = pending[-1]
    length = chance.below(1 + len(last.content) // SECTOR) * SECTOR
    # No ext4 opens with half a superblock: it checks that before the journal which could mend it is read. What becomes
    # of such a card is the file system's matter, the same whatever was written to it; so here it is written whole.
    if SUPERBLOCK[0] < last.place + length < SUPERBLOCK[1]:
        length = SUPERBLOCK[1] - last.place
    return [*pending[:-1], last._replace(content=last.content[:length])]


CHOICES: dict[str, Choice] = {
    "all": lambda pending, chance: pending,
    "none": lambda pending, chance: [],
    "some": lambda pending, chance: [one for one in pending if chance.below(2)],
    "few": lambda pending, chance: [one for one in pending if not chance.below(5)],
    "torn": torn,
}


class State(NamedTuple):
    """One state of a card: after how many entries the cut came, what of the unflushed it kept, what was reported."""

    cut: int
    choice: str
    reported: int
    content: bytearray
    unflushed: int


def states(first: bytes, recorded: list[Entry], wanted: int, chance: Chance) -> Iterator[State]:
    """Yield about so many states, spread evenly over the record; `first` is the card at its beginning."""
    card = bytearray(first)
    pending: list[Entry] = []
    reported = 0
    cuts = max(1, wanted // len(CHOICES))
    begin = next((place for place, entry in enumerate(recorded) if entry.place == MARKS), 0)
    chosen = {begin + (len(recorded) - begin) * n // cuts for n in range(1, cuts + 1)}
    for number, entry in enumerate(recorded, 1):
        if entry.flush:
            apply(card, pending)
            pending = []
        if entry.place == MARKS and entry.content:
            reported = struct.unpack_from("<Q", entry.content)[0]
        elif entry.content:
            pending.append(entry)
        if number in chosen:
            for name, choice in CHOICES.items():
                content = bytearray(card)
                apply(content, choice(pending, chance))
                yield State(number, name, reported, content, len(pending))


def apply(card: bytearray, writes: list[Entry]) -> None:
    """Let writes reach a card."""
    for one in writes:
        card[one.place : one.place + len(one.content)] = one.content
