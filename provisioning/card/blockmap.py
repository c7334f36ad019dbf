"""Which stretches of an image hold something: found by looking at every byte, told to the manifest and to bmaptool."""

import hashlib
import os
from itertools import pairwise
from pathlib import Path

from agent.core.errors import Unreadable
from agent.core.record import Record
from agent.core.slot import SIZE as SLOT_SIZE
from agent.core.slot import blank
from provisioning.card.manifest import BLOCK, LONGEST, Extent

GRAIN = 128 << 10  # bytes: a shorter run of zeros counts as something
HEAD = """\
<?xml version="1.0" ?>
<!-- Which blocks of the image hold something. bmaptool copies those alone and leaves the others as they
     are: on a card that was used before, they still hold what was there. privet-fleet flash clears them first. -->
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {block} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {checksum} </BmapFileChecksum>
    <BlockMap>
"""
TAIL = "    </BlockMap>\n</bmap>\n"


class Map(Record):
    """What was found: extents without the slot, and the digest of all outside the slot."""

    __slots__ = ("extents", "outside")
    extents: tuple[Extent, ...]
    outside: bytes


def mapped(path: Path, slot: int) -> Map:
    """Look through an image, which is as long as a whole number of blocks."""
    whole = hashlib.sha256()
    extents: list[Extent] = []
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for start, end in _windows(size, slot):
                if slot <= start < slot + SLOT_SIZE:
                    continue
                piece = os.pread(file.fileno(), end - start, start)
                whole.update(piece)
                extents += [_extent(start, piece, *one) for one in _runs(piece)]
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); look at its disk") from None
    return Map(extents=tuple(extents), outside=whole.digest())


def bmap(size: int, extents: tuple[Extent, ...], slot: int) -> bytes:
    """Return the block map as bmaptool reads it, with the blank slot; its checksum is taken with zeros in its place."""
    ranges = sorted([*extents, Extent(slot, SLOT_SIZE, hashlib.sha256(blank()).digest())])
    rows = "".join(f'        <Range chksum="{one.digest.hex()}"> {_span(one)} </Range>\n' for one in ranges)
    mapped_blocks = sum(one.length for one in ranges) // BLOCK
    facts = {"size": size, "block": BLOCK, "blocks": size // BLOCK, "mapped": mapped_blocks}
    unsigned = HEAD.format(**facts, checksum="0" * 64) + rows + TAIL
    checksum = hashlib.sha256(unsigned.encode()).hexdigest()
    return (HEAD.format(**facts, checksum=checksum) + rows + TAIL).encode()


def _span(one: Extent) -> str:
    first, last = one.offset // BLOCK, (one.offset + one.length) // BLOCK - 1
    return str(first) if first == last else f"{first}-{last}"


def _windows(size: int, slot: int) -> list[tuple[int, int]]:
    edges = sorted({*range(0, size, LONGEST), size, slot, slot + SLOT_SIZE})
    return list(pairwise(edges))


def _runs(piece: bytes) -> list[tuple[int, int]]:
    """Return the stretches of a piece that are not zeros, whole grains of it."""
    runs: list[tuple[int, int]] = []
    for at in range(0, len(piece), GRAIN):
        end = min(at + GRAIN, len(piece))
        if piece.count(0, at, end) == end - at:
            continue
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((at, end))
    return runs


def _extent(start: int, piece: bytes, at: int, end: int) -> Extent:
    return Extent(start + at, end - at, hashlib.sha256(memoryview(piece)[at:end]).digest())
