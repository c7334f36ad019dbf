"""Small images and small cards: what a flash test needs, in files."""

import os
from pathlib import Path

from provisioning.card.base import Base, Slot
from provisioning.card.flash import Job
from provisioning.card.progress import Progress
from provisioning.card.targets.target import MIB, Target

SLOT = Slot(9 * MIB, 8192)
IMAGE = 12 * MIB
CARD = 24 * MIB
SMALL_SLOT = Slot(5 * MIB // 2, 8192)
SMALL_IMAGE, SMALL_CARD = 3 * MIB, 4 * MIB
OLD = b"what the previous owner had on it"


def image(path: Path) -> Path:
    """Make an image: a boot record, some content with holes between, and an empty slot."""
    return drawn(path, IMAGE, SLOT, ((MIB, 3 * MIB), (5 * MIB, 300_000), (8 * MIB, MIB), (IMAGE - 4096, 4096)))


def small_image(path: Path) -> Path:
    """Make a smaller one, for what is done a hundred times."""
    return drawn(path, SMALL_IMAGE, SMALL_SLOT, ((MIB, 300_000), (3 * MIB // 2, 4096), (2 * MIB, 200_000)))


def drawn(path: Path, size: int, slot: Slot, filled: tuple[tuple[int, int], ...]) -> Path:
    """Make an image."""
    with path.open("wb") as file:
        file.truncate(size)
        file.write(boot_record())
        for at, length in filled:
            file.seek(at)
            file.write(os.urandom(length))
        file.seek(slot.offset)
        file.write(b"slot".ljust(slot.size, b"."))
    return path


def boot_record() -> bytes:
    """Make 512 bytes that firmware takes for a partition table."""
    entry = bytes((0x80, 0, 0, 0, 0x0C, 0, 0, 0)) + (2048).to_bytes(4, "little") + (4096).to_bytes(4, "little")
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def used_card(path: Path, size: int = CARD) -> Path:
    """Make a card that somebody had full of their own, with a boot record."""
    with path.open("wb") as file:
        file.write(boot_record())
        file.write((OLD * (size // len(OLD) + 1))[: size - 512])
    return path


def base(path: Path, slot: Slot | None = SLOT) -> Base:
    """Open an image."""
    return Base(os.open(path, os.O_RDONLY), path.name, slot)


def flash(target: Target, on: Base, slot: bytes | None = None, *, read_back: bool = True) -> Progress:
    """Flash one card."""
    progress = Progress()
    Job(target, on, slot, progress, read_back=read_back).run()
    return progress


def seed(letter: bytes = b"A") -> bytes:
    """Make the slot of one card."""
    return letter * SLOT.size


def wanted(image_path: Path, slot: bytes, size: int = CARD, place: Slot = SLOT) -> bytes:
    """Return what a whole card must hold: the image with the slot, and nothing of before behind it."""
    content = bytearray(image_path.read_bytes())
    content[place.offset : place.offset + place.size] = slot
    return bytes(content) + bytes(size - len(content))


def startable(content: bytes) -> bool:
    """Say whether firmware would start from it: there is a boot record with a partition."""
    return content[510:512] == b"\x55\xaa" and any(content[446:510])


def shrunk(target: Target, size: int = 20 * MIB) -> Target:
    """Make a card as small as it really is."""
    target.size = size
    return target
