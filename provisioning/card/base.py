"""The image that every card of a run gets: decoded once, looked through once, then read by any number of writers.

One pass finds what holds something (the rest of a card is made to read as zeros) and takes a digest of each piece, by
which each card is read back. An extent map from elsewhere is not needed and not believed.
"""

import itertools
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple, Protocol, Self

from agent.core.errors import BadInput, Failed, Refused
from provisioning.card.targets.target import BLOCK, CHUNK, MIB, NOTHING, SECTOR, Room, empty

GRAIN = 128 << 10  # bytes: a run of zeros at least so long is not written
MOST = 256 << 30  # bytes: no image for a Raspberry Pi is larger; what claims to be is a bomb
LEAST = MIB


class Piece(NamedTuple):
    """A part of the image, at most a chunk, and the sha256 of what it holds; no digest when it holds only zeros."""

    offset: int
    length: int
    digest: bytes


class Slot(NamedTuple):
    """Where the seed slot lies. It differs from card to card."""

    offset: int
    size: int


class Digest(Protocol):
    """A digest that is being taken."""

    def update(self, part: bytes | memoryview, /) -> None:
        """Take more."""
        ...


class Base:
    """An open image. `pieces` cover all of it but the slot, in order; the first is block 0 by itself."""

    def __init__(self, file: int, name: str, slot: Slot | None = None) -> None:
        self.name = name
        self.size = os.fstat(file).st_size
        self.slot = slot
        self._file = file
        if self.size < LEAST or self.size % SECTOR:
            self.close()
            raise BadInput(f"{name} is {self.size} bytes long, which no image of a card is; fetch it again")
        if slot is not None and (
            slot.offset % BLOCK or slot.size % BLOCK or not 0 < slot.offset < self.size - slot.size
        ):
            self.close()
            raise BadInput(f"the slot of {name} does not lie on a block of the image; build the image again")
        whole = sha256()
        self.pieces = tuple(self._looked_through(whole))
        self.digest = whole.digest()  # of all outside the slot

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a decoded one is gone then."""
        os.close(self._file)

    def read(self, offset: int, view: memoryview) -> None:
        """Fill the view; Failed when the file shrank or its disk fails."""
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self._file, [view[done:]], offset + done)
            except OSError as error:
                raise Failed(f"{self.name} can no longer be read ({error.strerror}); check its disk") from None
            if count == 0:
                raise Failed(f"{self.name} became shorter while it was written; fetch it again")
            done += count

    def slot_now(self) -> bytes:
        """Return what the image itself has in the slot."""
        if self.slot is None:
            raise Refused(f"{self.name} has no slot for a seed; build one with privet-fleet image build")
        found = bytearray(self.slot.size)
        self.read(self.slot.offset, memoryview(found))
        return bytes(found)

    @property
    def filled(self) -> int:
        """Count the bytes that have to be written."""
        return sum(piece.length for piece in self.pieces if piece.digest)

    def _looked_through(self, whole: Digest) -> Iterator[Piece]:
        room = Room()
        for start, end in self._windows():
            view = room.view[: end - start]
            if self._hole(start, end):
                whole.update(memoryview(NOTHING)[: end - start])
                yield Piece(start, end - start, b"")
                continue
            self.read(start, view)
            whole.update(view)
            yield from runs(start, view)

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Cut the image at block 0, at every chunk, and around the slot."""
        cuts = {0, BLOCK, self.size, *range(CHUNK, self.size, CHUNK)}
        if self.slot is not None:
            cuts |= {self.slot.offset, self.slot.offset + self.slot.size}
        edges = sorted(cuts)
        for start, end in itertools.pairwise(edges):
            if self.slot is None or start != self.slot.offset:
                yield start, end

    def _hole(self, start: int, end: int) -> bool:
        try:
            return os.lseek(self._file, start, os.SEEK_DATA) >= end
        except OSError:  # nothing follows, or a file system without holes
            return os.fstat(self._file).st_blocks * 512 < self.size


def runs(start: int, view: memoryview) -> Iterator[Piece]:
    """Cut a window into what holds something and what does not."""
    grains = [(at, min(at + GRAIN, len(view))) for at in range(0, len(view), GRAIN)]
    begin, last = 0, empty(view[: grains[0][1]])
    for at, end in grains[1:]:
        if (now := empty(view[at:end])) != last:
            yield piece(start, begin, view[begin:at], zeros=last)
            begin, last = at, now
    yield piece(start, begin, view[begin:], zeros=last)


def piece(start: int, begin: int, view: memoryview, *, zeros: bool) -> Piece:
    """Make one piece."""
    return Piece(start + begin, len(view), b"" if zeros else sha256(view).digest())
