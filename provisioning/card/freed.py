"""Secrets in the raw bytes of an image, and which of them lie where no file is: what was deleted is still there."""

import os
import re
import struct
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from provisioning.card.disk import Disk
from provisioning.card.programs import ran

PIECE, OVER = 8 << 20, 4096  # bytes looked at in one go, and once more at the seam
# What it begins with, or has in it, is looked for first: that is many times as fast as the expression.
PATTERNS = (
    (
        (b"PRIVATE KEY-----",),
        rb"-----BEGIN (?:OPENSSH |RSA |EC |)PRIVATE KEY-----\r?\n[A-Za-z0-9+/=]{40}",
        "a private key",
    ),
    ((b"$6$", b"$5$"), rb"\$[65]\$(?:rounds=\d+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}", "a password hash"),
    ((b"$y$",), rb"\$y\$[./A-Za-z0-9]{2,}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}", "a password hash"),
    ((b"psk=",), rb"\bpsk=(?:\"[^\"\n]{8,63}\"|[0-9a-f]{64})", "the key of a Wi-Fi network"),
    ((b"PRVTSLOT",), rb"PRVTSLOT\x00\x01\x00\x01", "the seed of a device"),
)
ANSWER = re.compile(r"Block (\d+) (not in use|marked in use)")


class Hit(NamedTuple):
    """Where something that looks like a secret begins, and what it looks like."""

    at: int
    text: str


def hits(disk: Disk, tell: Callable[[int, int], None]) -> Iterator[Hit]:
    """Find what looks like a secret in both partitions, in files and between them."""
    with disk.path.open("rb") as file:
        for part in (disk.boot, disk.root):
            for start in range(part.start, part.start + part.length, PIECE):
                length = min(PIECE, part.start + part.length - start)
                tell(start, disk.size)
                piece = os.pread(file.fileno(), length + OVER, start)
                if piece.count(0) == len(piece):
                    continue
                yield from (Hit(start + at, text) for at, text in inside(piece) if at < length)


def inside(piece: bytes) -> Iterator[tuple[int, str]]:
    """Find what looks like a secret in a piece."""
    for marks, pattern, text in PATTERNS:
        if any(mark in piece for mark in marks):
            yield from ((one.start(), text) for one in re.finditer(pattern, piece))


class Freed:
    """Which places of an image belong to no file."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def of(self, places: list[int]) -> list[bool]:
        """Say of each place whether it is free."""
        blocks = {at: (at - self.disk.root.start) // self.disk.ext.block for at in places if at >= self.disk.root.start}
        used = self._used(sorted(set(blocks.values())))
        return [self._free_cluster(at) if at not in blocks else not used.get(blocks[at], True) for at in places]

    def _used(self, blocks: list[int]) -> dict[int, bool]:
        with tempfile.NamedTemporaryFile("w", prefix="privet-debugfs-", encoding="ascii") as script:
            script.write("".join(f"testb {block}\n" for block in blocks))
            script.flush()
            said = ran("debugfs", "-f", script.name, self.disk.on_ext).decode("utf-8", "replace")
        return {int(block): state == "marked in use" for block, state in ANSWER.findall(said)}

    def _free_cluster(self, at: int) -> bool:
        """Look the cluster of a place up in the table of the FAT."""
        fat = self.disk.fat
        if at < fat.first or fat.bits != 32:
            return False
        number = (at - fat.first) // fat.cluster + 2
        with self.disk.path.open("rb") as file:
            (entry,) = struct.unpack("<I", os.pread(file.fileno(), 4, fat.table + 4 * number))
        return bool(entry & 0x0FFFFFFF == 0)
