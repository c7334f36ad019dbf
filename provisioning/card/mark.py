"""What block 0 of a card holds while it is being written: that it is unfinished, and how far it is.

It is no boot record, so a card that was pulled out or lost its power starts nothing. The next run reads it and goes on;
that run believes only what it then reads back, and that what lay on the card before was erased.
"""

import json
from hashlib import sha256
from typing import NamedTuple

from provisioning.card.targets.target import BLOCK, Room, Target, flush, read_all, write_all

MAGIC = b"PRIVET UNFINISHED CARD\n"
DIGEST = 32


class Mark(NamedTuple):
    """Which image is being written, whether the card was erased before, and up to which byte the image lies there."""

    image: str
    size: int
    written: int


def encode(mark: Mark) -> bytes:
    """Return the block."""
    body = json.dumps(mark._asdict(), sort_keys=True).encode()
    made = MAGIC + sha256(body).digest() + body + b"\n"
    return made + bytes(BLOCK - len(made))


def decode(block: bytes) -> Mark | None:
    """Read the block; None when it is anything else, or damaged."""
    if not block.startswith(MAGIC):
        return None
    digest, rest = block[len(MAGIC) :][:DIGEST], block[len(MAGIC) + DIGEST :]
    body, _, _ = rest.partition(b"\n")
    if sha256(body).digest() != digest:
        return None
    fields = json.loads(body)
    return Mark(str(fields["image"]), int(fields["size"]), int(fields["written"]))


def put(target: Target, room: Room, mark: Mark) -> None:
    """Write the mark; all that was written before it lies on the card first."""
    flush(target)
    room.view[:BLOCK] = encode(mark)
    write_all(target, 0, room.view[:BLOCK])
    flush(target)


def found(target: Target, room: Room) -> Mark | None:
    """Return the mark on a card."""
    read_all(target, 0, room.view[:BLOCK])
    return decode(bytes(room.view[:BLOCK]))
