"""What is on a disk: only what is surely nobody's counts as free; what cannot be read is unknown."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.card.mark import Mark, encode
from provisioning.card.targets.content import FREE, Content, content

MIB = 1 << 20
SIZE = 8 * MIB
Draw = Callable[[bytearray], None]


def looked(disk: bytes | bytearray) -> Content:
    """Look at a disk in memory."""
    return content(lambda offset, length: bytes(disk[offset : offset + length]), len(disk))


def table(disk: bytearray, *rows: tuple[int, int, int]) -> None:
    """Write a partition table: type, first sector, sectors."""
    for number, (kind, first, count) in enumerate(rows):
        struct.pack_into("<8xII", disk, 446 + 16 * number, first, count)
        disk[446 + 16 * number + 4] = kind
    disk[510:512] = b"\x55\xaa"


def fat16(disk: bytearray, at: int, *names: bytes) -> None:
    """Write a FAT16 file system with these names in its root."""
    disk[at : at + 3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHBH", disk, at + 11, 512, 4, 1, 2, 512)  # sector, cluster, reserved, tables, root entries
    struct.pack_into("<H", disk, at + 22, 16)
    disk[at + 54 : at + 62] = b"FAT16   "
    disk[at + 510 : at + 512] = b"\x55\xaa"
    entries = b"".join(name.ljust(11) + bytes((0x20,)) + bytes(20) for name in names)
    disk[at + 33 * 512 : at + 33 * 512 + len(entries)] = entries


def fat32(disk: bytearray, at: int, *names: bytes) -> None:
    """Write a FAT32 file system with these names in its root."""
    disk[at : at + 3] = b"\xeb\x58\x90"
    struct.pack_into("<HBHBH", disk, at + 11, 512, 1, 32, 2, 0)
    struct.pack_into("<I", disk, at + 36, 64)
    struct.pack_into("<I", disk, at + 44, 2)
    disk[at + 82 : at + 90] = b"FAT32   "
    disk[at + 510 : at + 512] = b"\x55\xaa"
    label = b"NO NAME    " + bytes((0x08,)) + bytes(20)
    entries = label + b"".join(name.ljust(11) + bytes((0x20,)) + bytes(20) for name in names)
    root = at + (32 + 2 * 64) * 512
    disk[root : root + len(entries)] = entries


def exfat(disk: bytearray, at: int, *kinds: int) -> None:
    """Write an exFAT file system, as large cards are sold with; kinds are those of the entries in its root."""
    disk[at : at + 11] = b"\xeb\x76\x90EXFAT   "
    struct.pack_into("<I", disk, at + 88, 2048)
    struct.pack_into("<I", disk, at + 96, 4)
    disk[at + 108 : at + 110] = bytes((9, 6))
    disk[at + 510 : at + 512] = b"\x55\xaa"
    root = at + 2048 * 512 + 2 * 64 * 512
    for number, kind in enumerate((0x83, 0x81, 0x82, *kinds)):
        disk[root + 32 * number] = kind


def ext4(disk: bytearray, at: int) -> None:
    """Write what tells an ext4 file system."""
    disk[at + 1080 : at + 1082] = b"\x53\xef"


def pi(disk: bytearray, *names: bytes) -> None:
    """Write a card for a Raspberry Pi."""
    table(disk, (0x0C, 2048, 4096), (0x83, 8192, 8192))
    fat32(disk, MIB, *names)
    ext4(disk, 4 * MIB)


def put(*places: tuple[int, bytes]) -> Draw:
    """Return what writes bytes at places."""

    def draw(disk: bytearray) -> None:
        for at, what in places:
            disk[at : at + len(what)] = what

    return draw


def both(*draws: Draw) -> Draw:
    """Return what draws one after the other."""

    def draw(disk: bytearray) -> None:
        for one in draws:
            one(disk)

    return draw


FREE_DISKS: dict[str, tuple[Draw, str]] = {
    "zeros": (lambda disk: None, "blank"),
    "erased to ones": (lambda disk: disk.__setitem__(slice(None), b"\xff" * SIZE), "blank"),
    "ours, unfinished": (put((0, encode(Mark("ab", 1, 2)))), "unfinished"),
    "a card for a Pi": (lambda disk: pi(disk, b"CONFIG  TXT", b"OVERLAYS"), "pi"),
    "new, FAT16": (both(lambda disk: table(disk, (0x06, 2048, 4096)), lambda disk: fat16(disk, MIB)), "empty"),
    "new, FAT32": (both(lambda disk: table(disk, (0x0C, 2048, 4096)), lambda disk: fat32(disk, MIB)), "empty"),
    "new, exFAT": (both(lambda disk: table(disk, (0x07, 2048, 4096)), lambda disk: exfat(disk, MIB)), "empty"),
    "without a table": (lambda disk: fat32(disk, 0), "empty"),
    "Windows saw it": (lambda disk: fat32(disk, 0, b"SYSTEM~1"), "empty"),
    "emptied": (lambda disk: fat32(disk, 0, b"\xe5HOTO1  JPG"), "empty"),
}
TAKEN: dict[str, tuple[Draw, str]] = {
    "photographs": (both(lambda disk: table(disk, (0x0C, 2048, 99)), lambda disk: fat32(disk, MIB, b"DCIM")), "files"),
    "photographs on exFAT": (
        both(lambda disk: table(disk, (0x07, 2048, 4096)), lambda disk: exfat(disk, MIB, 0x85)),
        "files",
    ),
    "a PC's stick": (lambda disk: pi(disk, b"EFI", b"GRUB"), "2 partitions"),
    "ext4": (lambda disk: ext4(disk, 0), "ext4"),
    "LUKS": (put((0, b"LUKS\xba\xbe\0\2")), "LUKS"),
    "GPT": (both(lambda disk: table(disk, (0xEE, 1, 8000)), put((512, b"EFI PART"))), "one partition"),
    "NTFS": (put((0, b"\xeb\x52\x90NTFS    "), (510, b"\x55\xaa")), "NTFS"),
    "BitLocker": (put((0, b"\xeb\x58\x90-FVE-FS-"), (510, b"\x55\xaa")), "BitLocker"),
    "btrfs": (put((65600, b"_BHRfS_M")), "btrfs"),
    "LVM": (put((512, b"LABELONE")), "LVM"),
    "XFS": (put((0, b"XFSB")), "XFS"),
    "three partitions": (lambda disk: table(disk, (0x83, 64, 9), (0x83, 128, 9), (0x83, 256, 9)), "3 partitions"),
    "something far behind": (put((SIZE // 2, b"x" * 4096)), "something at"),
    "rubbish": (put((0, bytes(range(256)) * 16)), "not recognised"),
}  # fmt: skip


@pytest.mark.parametrize(("draw", "kind"), FREE_DISKS.values(), ids=FREE_DISKS)
def test_what_is_nobody_s_is_free(draw: Draw, kind: str):
    """Blank, empty as sold, a Raspberry Pi's, our own."""
    disk = bytearray(SIZE)
    draw(disk)
    assert looked(disk).kind == kind and kind in FREE


@pytest.mark.parametrize(("draw", "told"), TAKEN.values(), ids=TAKEN)
def test_what_is_somebody_s_is_named(draw: Draw, told: str):
    """Everything else is unknown, and said in words that make a person think."""
    disk = bytearray(SIZE)
    draw(disk)
    found = looked(disk)
    assert found.kind == "unknown" and told in found.told


@given(st.binary(min_size=1, max_size=4096), st.sampled_from(sorted({**FREE_DISKS, **TAKEN})), st.integers(0, 70_000))
def test_any_bytes_get_an_answer(noise: bytes, name: str, at: int):
    """Whatever is on a disk, looking at it ends in a verdict, not in an error."""
    disk = bytearray(SIZE)
    ({**FREE_DISKS, **TAKEN}[name][0])(disk)
    disk[at : at + len(noise)] = noise
    assert looked(disk).told


def test_what_cannot_be_read_is_not_free():
    """An error of the reader is told, and the disk is left alone."""

    def read(offset: int, length: int) -> bytes:
        raise PermissionError(13, "Permission denied")

    assert content(read, SIZE) == Content("unknown", "what this user cannot read (Permission denied)")


def test_a_disk_that_ends_early_is_not_free(tmp_path: Path):
    """A size that is not true gives nothing to read: no verdict of free comes of that."""
    assert content(lambda offset, length: b"", SIZE).kind not in FREE
