"""What the first sectors of an image say: the table of partitions, the FAT and the ext4 file system in them."""

import os
import struct
from pathlib import Path

from agent.core.errors import BadInput, Missing, Refused, Unreadable
from agent.core.record import Record

SECTOR = 512
# What a file packed by others begins with.
OTHERS = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"7z\xbc\xaf": "7-Zip", b"\x28\xb5\x2f": "zstd"}
PACKED = {b"\xfd7zXZ\x00": "xz", **OTHERS}
SIGNATURE, TABLE, MARK = 440, 446, 510  # places in the first sector
PROTECTIVE = 0xEE  # the one partition of a disk whose real table is GPT
LUKS = b"LUKS\xba\xbe"
SUPERBLOCK, EXT_MAGIC = 1024, 0xEF53
NEEDS_RECOVERY, ENCRYPT = 0x4, 0x10000  # incompatible features of ext4


class Partition(Record):
    """One partition: its number, its type, where it begins and how long it is (bytes)."""

    __slots__ = ("kind", "length", "number", "start")
    number: int
    kind: int
    start: int
    length: int


class Fat(Record):
    """A FAT file system: its label, 12, 16 or 32, bytes of a cluster, where its table and its cluster 2 lie."""

    __slots__ = ("bits", "cluster", "first", "label", "table")
    label: str
    bits: int
    cluster: int
    first: int
    table: int


class Ext(Record):
    """An ext4 file system: its label, bytes of a block, free blocks and inodes."""

    __slots__ = ("block", "free", "inodes", "label")
    label: str
    block: int
    free: int
    inodes: int


class Disk(Record):
    """An image taken apart."""

    __slots__ = ("boot", "ext", "fat", "path", "root", "signature", "size")
    path: Path
    size: int
    signature: str
    boot: Partition
    root: Partition
    fat: Fat
    ext: Ext

    @property
    def on_fat(self) -> str:
        """Return how mtools name the boot partition."""
        return f"{self.path}@@{self.boot.start}"

    @property
    def on_ext(self) -> str:
        """Return how the programs of e2fsprogs name the root partition."""
        return f"{self.path}?offset={self.root.start}"


def look(path: Path) -> Disk:
    """Take an image apart; BadInput when it is none or is cut off, Refused when it is one that is not built upon."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would keep us waiting
    except FileNotFoundError:
        raise Missing(f"{path} is not there; name an image") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); name an image") from None
    try:
        size = os.fstat(file).st_size
        first = os.pread(file, SECTOR, 0)
        packed = next((name for magic, name in PACKED.items() if first.startswith(magic)), "")
        if packed:
            raise BadInput(f"{path} is packed with {packed}, and is looked into unpacked; unpack it first")
        parts = partitions(first, size)
        if len(parts) != 2:
            raise Refused(
                f"the image has {len(parts)} partitions where images of Raspberry Pi OS have 2; take one of those"
            )
        boot, root = parts
        fat = fat_of(os.pread(file, SECTOR, boot.start), boot)
        ext = ext_of(os.pread(file, 4096, root.start))
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); look at its disk") from None
    finally:
        os.close(file)
    signature = first[SIGNATURE : SIGNATURE + 4][::-1].hex()
    return Disk(path=path, size=size, signature=signature, boot=boot, root=root, fat=fat, ext=ext)


def partitions(first: bytes, size: int) -> tuple[Partition, ...]:
    """Read the table of partitions in the first sector."""
    if len(first) < SECTOR or first[MARK : MARK + 2] != b"\x55\xaa":
        raise BadInput("this is no image of a card: it has no table of partitions; fetch it again")
    found = []
    for number in range(4):
        kind, start, sectors = struct.unpack_from("<4xB3xII", first, TABLE + 16 * number)
        if kind == PROTECTIVE:
            raise Refused("the image has a GPT; Raspberry Pi OS and Privet use MBR, so take an image with MBR")
        if kind:
            found.append(Partition(number=number + 1, kind=kind, start=start * SECTOR, length=sectors * SECTOR))
    at = SECTOR
    for one in found:
        if one.start < at or not one.length:
            raise BadInput(f"partition {one.number} of the image lies over another; fetch the image again")
        at = one.start + one.length
        if at > size:
            raise BadInput(f"the image ends {at - size} bytes before its partition {one.number} does; fetch it again")
    return tuple(found)


def fat_of(first: bytes, part: Partition) -> Fat:
    """Read the first sector of a FAT file system."""
    sector, per_cluster, reserved, fats = struct.unpack_from("<HBHB", first, 11)
    entries, small, _, short = struct.unpack_from("<HHBH", first, 17)
    large, long = struct.unpack_from("<II", first, 32)
    if first[MARK : MARK + 2] != b"\x55\xaa" or sector != SECTOR or not per_cluster or not fats or not reserved:
        raise BadInput(f"partition {part.number} of the image holds no FAT file system; fetch the image again")
    total, table = small or large, short or long
    before = reserved + fats * table + -(-entries * 32 // SECTOR)
    if not table or total * SECTOR > part.length or before >= total:
        raise BadInput(f"the FAT file system does not fit into partition {part.number}; fetch the image again")
    clusters = (total - before) // per_cluster
    bits = 32 if not short else 12 if clusters < 4085 else 16
    label = first[71:82] if not short else first[43:54]
    return Fat(
        label=label.decode("ascii", "replace").rstrip(), bits=bits, cluster=per_cluster * SECTOR,
        first=part.start + before * SECTOR, table=part.start + reserved * SECTOR,
    )  # fmt: skip


def ext_of(start: bytes) -> Ext:
    """Read the superblock of an ext4 file system."""
    if start.startswith(LUKS):
        raise Refused("the root file system is encrypted: nothing can be put into it; take an image without encryption")
    inodes, _, _, free, free_inodes = (
        struct.unpack_from("<5I", start, SUPERBLOCK + 0) if len(start) > 1100 else (0,) * 5
    )
    magic = struct.unpack_from("<H", start, SUPERBLOCK + 56)[0] if inodes else 0
    if magic != EXT_MAGIC:
        raise BadInput("partition 2 of the image holds no ext4 file system; take an image of Raspberry Pi OS")
    size, features = (
        struct.unpack_from("<I", start, SUPERBLOCK + 24)[0],
        struct.unpack_from("<I", start, SUPERBLOCK + 96)[0],
    )
    if features & NEEDS_RECOVERY:
        raise Refused(
            "the root file system was not closed: it comes from a running device; take the image of the maker"
        )
    if features & ENCRYPT:
        raise Refused("files of the image may be encrypted: nothing can be put among them; take an image without that")
    label = start[SUPERBLOCK + 120 : SUPERBLOCK + 136].rstrip(b"\0").decode("ascii", "replace")
    return Ext(label=label, block=1024 << min(size, 6), free=free, inodes=free_inodes)
