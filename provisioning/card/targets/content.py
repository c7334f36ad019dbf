"""What is on a disk, as far as it decides whether it may be written over: nothing, a Raspberry Pi's card, or else.

What is not recognised is somebody's: only an empty disk, an empty file system as cards are sold with, a card for a
Raspberry Pi and a card of our own count as free.
"""

import errno
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.core.errors import PrivetError
from provisioning.card import mark

Read = Callable[[int, int], bytes]  # offset, length
MIB = 1 << 20
SPREAD = 64
FREE = ("blank", "empty", "unfinished", "pi")
FATS = (0x01, 0x04, 0x06, 0x07, 0x0B, 0x0C, 0x0E)  # partition types of FAT and exFAT
LINUX = 0x83
PI_FILES = ("CONFIG  TXT", "CMDLINE TXT", "BOOTCODEBIN", "PRIVET  SLO")
HOUSE = ("SYSTEM~1   ",)  # what Windows makes in the root of every card
MAGICS = (  # offset, bytes, name: to say what it is that we would destroy
    (0, b"LUKS\xba\xbe", "an encrypted disk (LUKS)"), (512, b"EFI PART", "a disk with a GPT"),
    (512, b"LABELONE", "LVM"), (0, b"XFSB", "an XFS file system"), (3, b"NTFS    ", "an NTFS file system"),
    (1080, b"\x53\xef", "an ext4 file system"), (65600, b"_BHRfS_M", "a btrfs file system"), (32, b"NXSB", "APFS"),
    (4096, b"\xfc\x4e\x2b\xa9", "a RAID"), (32769, b"CD001", "a disc image"), (4086, b"SWAPSPACE2", "swap"),
    (1024, b"H+", "a Mac's file system"), (3, b"-FVE-FS-", "an encrypted disk (BitLocker)"),
)  # fmt: skip


class Content(NamedTuple):
    """What kind of content it is, and its name for people."""

    kind: str
    told: str


class Part(NamedTuple):
    """One row of a partition table, in bytes."""

    kind: int
    offset: int
    length: int


def content(read: Read, size: int) -> Content:
    """Look at a disk; what cannot be read is unknown, never free."""
    read = exact(read)
    try:
        start = read(0, min(size, 128 << 10))
        if mark.decode(start[:4096]) is not None:
            return Content("unfinished", "a card of ours that was not finished")
        if not any(start) or start == b"\xff" * len(start):
            return spread(read, size, start[0])
        parts = partitions(start, size)
        if pi(read, parts):
            return Content("pi", "a card for a Raspberry Pi")
        return volume(read, start, parts)
    except (OSError, PrivetError) as error:
        return Content("unknown", f"what this user cannot read ({getattr(error, 'strerror', None) or error})")


def exact(read: Read) -> Read:
    """Return a reader that fails where there is less than was asked for."""

    def exactly(offset: int, length: int) -> bytes:
        """Read all of it."""
        found = read(offset, length)
        if len(found) != length:
            raise OSError(errno.EIO, "it ends early")
        return found

    return exactly


def spread(read: Read, size: int, filler: int) -> Content:
    """Look at places all over a disk that begins with nothing."""
    for part in range(1, SPREAD + 1):
        at = (size - 4096) * part // SPREAD // 512 * 512
        if read(at, 4096).strip(bytes((filler,))):
            return Content("unknown", f"something at {at // MIB} MiB")
    return Content("blank", "nothing")


def volume(read: Read, start: bytes, parts: list[Part]) -> Content:
    """Name what is on a disk that is no card for a Raspberry Pi; free only when it is one empty FAT or exFAT."""
    places = [part.offset for part in parts] or [0]
    names = [name for at in places if (name := named(read(at, 128 << 10) if at else start))]
    if len(places) == 1 and (not parts or parts[0].kind in FATS):
        listed = listing(read, places[0])
        if listed is not None and not [name for name in listed if name not in HOUSE]:
            return Content("empty", "an empty file system")
        if listed is not None:
            return Content("unknown", "a file system with files on it")
    whole = named(start)
    if whole and not parts:
        return Content("unknown", whole)
    if parts:
        count = "one partition" if len(parts) == 1 else f"{len(parts)} partitions"
        return Content("unknown", count + (f": {', '.join(dict.fromkeys(names))}" if names else ""))
    return Content("unknown", "something that is not recognised")


def named(start: bytes) -> str:
    """Name what begins so; empty when it is not recognised."""
    for at, magic, name in MAGICS:
        if start[at : at + len(magic)] == magic:
            return name
    return "a FAT file system" if listing_form(start) else ""


def partitions(start: bytes, size: int) -> list[Part]:
    """Read the table of a boot record; empty when there is none, as on a disk that is one file system."""
    if start[510:512] != b"\x55\xaa" or listing_form(start):
        return []
    rows = [start[446 + 16 * row :][:16] for row in range(4)]
    found = [Part(row[4], field(row, 8, 4) * 512, field(row, 12, 4) * 512) for row in rows]
    return [part for part in found if part.kind and part.length and part.offset + 4096 <= size]


def pi(read: Read, parts: list[Part]) -> bool:
    """Say whether it is a card for a Raspberry Pi: FAT with its files, then Linux."""
    if len(parts) != 2 or parts[0].kind not in FATS or parts[1].kind != LINUX:
        return False
    boot = listing(read, parts[0].offset)
    return (
        boot is not None
        and any(name in PI_FILES for name in boot)
        and read(parts[1].offset, 4096)[1080:1082] == b"\x53\xef"
    )


def listing_form(start: bytes) -> str:
    """Say which of the forms that we list a file system has: fat, exfat, or neither."""
    if start[3:11] == b"EXFAT   ":
        return "exfat"
    jump = start[:1] in {b"\xeb", b"\xe9"}
    return "fat" if jump and (start[54:57] == b"FAT" or start[82:87] == b"FAT32") else ""


def listing(read: Read, offset: int) -> list[str] | None:
    """List the root of a FAT or exFAT file system, its first part at least; None when it is neither."""
    start = read(offset, 4096)
    form = listing_form(start)
    if not form:
        return None
    place = exfat_root(start) if form == "exfat" else fat_root(start)
    if place is None:
        return ["damaged"]
    return list(exfat_names(read(offset + place, 4096)) if form == "exfat" else fat_names(read(offset + place, 4096)))


def field(block: bytes, at: int, length: int) -> int:
    """Read a number."""
    return int.from_bytes(block[at : at + length], "little")


def fat_root(start: bytes) -> int | None:
    """Return where the root directory of a FAT file system begins."""
    sector, cluster, reserved = field(start, 11, 2), start[13], field(start, 14, 2)
    table = field(start, 22, 2) or field(start, 36, 4)
    if sector not in {512, 1024, 2048, 4096} or not cluster or not table:
        return None
    first = reserved + start[16] * table
    if field(start, 17, 2):  # FAT12 and FAT16: right behind the tables
        return first * sector
    return (first + (max(field(start, 44, 4), 2) - 2) * cluster) * sector


def exfat_root(start: bytes) -> int | None:
    """Return where the root directory of an exFAT file system begins."""
    sector, cluster = start[108], start[109]
    if not 9 <= sector <= 12 or cluster > 25 - sector:
        return None
    return (field(start, 88, 4) << sector) + ((max(field(start, 96, 4), 2) - 2) << sector + cluster)


def fat_names(block: bytes) -> Iterator[str]:
    """Yield the short names in a directory, deleted ones, long names and the label left out."""
    for at in range(0, len(block), 32):
        entry = block[at : at + 32]
        if entry[0] == 0:
            return
        if entry[0] != 0xE5 and not entry[11] & 0x08:  # a long name has the bit of the label too
            yield entry[:11].decode("latin-1")


def exfat_names(block: bytes) -> Iterator[str]:
    """Yield a word for each file in a directory."""
    for at in range(0, len(block), 32):
        if block[at] == 0:
            return
        if block[at] == 0x85:
            yield "file"
