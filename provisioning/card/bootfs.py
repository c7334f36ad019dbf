"""The FAT side of an image: files by mtools, each read back, and the one file whose place counts, the slot."""

import os
import re
import tempfile
from pathlib import Path

from agent.core.errors import BadInput, Failed, Missing, Refused
from agent.core.slot import SIZE, blank
from provisioning.card.disk import Disk
from provisioning.card.programs import ran

SLOT = "privet.slot"
BLOCK = 4096
TRIES = 4
RUNS = re.compile(r"<(\d+)(?:-(\d+))?>")
CONFIG = "config.txt"
WORDS = "cmdline.txt"
MOST_LINE = 98  # letters of a line that the firmware reads
MARK = "# written by privet-fleet image build"


class Bootfs:
    """The boot partition of a disk. `moment` is the time (Unix seconds) that files written get."""

    def __init__(self, disk: Disk, moment: int) -> None:
        self.disk = disk
        self.moment = moment

    def names(self) -> tuple[str, ...]:
        """Return the names in the root folder; folders end with a slash."""
        said = ran("mdir", "-b", "-a", "-i", self.disk.on_fat, "::/").decode("utf-8", "replace")
        return tuple(sorted(line.removeprefix("::/") for line in said.splitlines() if line.startswith("::/")))

    def read(self, name: str) -> bytes:
        """Return what a file of the root folder holds; Missing when there is none."""
        if name.lower() not in (one.lower() for one in self.names()):
            raise Missing(f"the boot partition of the image has no {name}; take an image of Raspberry Pi OS")
        return ran("mtype", "-i", self.disk.on_fat, f"::/{name}")

    def put(self, name: str, content: bytes) -> None:
        """Write a file of the root folder and read it back."""
        with tempfile.TemporaryDirectory(prefix="privet-bootfs-") as folder:
            place = Path(folder) / name
            place.write_bytes(content)
            os.utime(place, (self.moment, self.moment))
            ran("mcopy", "-o", "-m", "-i", self.disk.on_fat, place, "::/", moment=self.moment)
        if self.read(name) != content:
            raise Failed(f"{name} is not on the boot partition as it was written; look at its free space")

    def place(self, name: str, *, whole: bool = True) -> int:
        """Return where a file begins (bytes from the start of the image); Refused when it does not lie in one piece."""
        said = ran("mshowfat", "-i", self.disk.on_fat, f"::/{name}").decode("ascii", "replace")
        runs = RUNS.findall(said)
        if not runs or (whole and len(runs) != 1):
            raise Refused(f"the boot partition has no room for {name} in one piece; take a fresh image")
        return self.disk.fat.first + (int(runs[0][0]) - 2) * self.disk.fat.cluster

    def lay_slot(self) -> int:
        """Write a blank slot in one piece that begins on a block of the card; return where that is."""
        if (self.disk.fat.first % BLOCK) % min(self.disk.fat.cluster, BLOCK):
            raise Refused("no file of the boot partition can begin on a block of the card; take another image")
        pads: list[str] = []
        try:
            for number in range(TRIES):
                self.put(SLOT, blank())
                at = self.place(SLOT, whole=False)
                if at % BLOCK == 0 and self.place(SLOT) == at:
                    return self._proven(at)
                self._remove(SLOT)
                self._fill(pads, number)
        finally:
            for pad in pads:
                self._remove(pad)
        raise Refused("the boot partition has no room for a slot on a block of the card; take a fresh image")

    def _fill(self, pads: list[str], number: int) -> None:
        """Fill the boot partition up to the next block: mtools go on where they wrote last."""
        pads += [f"first{number}.pad", f"rest{number}.pad"]
        self.put(pads[-2], b"-")
        begin = self.place(pads[-2]) + self.disk.fat.cluster
        self.put(pads[-1], bytes(-begin % BLOCK or BLOCK))

    def add_lines(self, lines: tuple[str, ...]) -> None:
        """Append lines to config.txt, for every board; lines that are there already are not doubled."""
        for line in lines:
            if not line.isascii() or not line.isprintable() or not 0 < len(line) <= MOST_LINE:
                raise BadInput(f"{line!r} is no line of config.txt; use at most {MOST_LINE} plain letters")
        before = self.read(CONFIG)
        there = before.decode("utf-8", "replace").splitlines()
        missing = [line for line in lines if line not in there]
        if missing:
            joint = b"" if before.endswith(b"\n") or not before else b"\n"
            self.put(CONFIG, before + joint + "\n".join(["", MARK, "[all]", *missing, ""]).encode())

    def check(self) -> None:
        """Have fsck.vfat look at it, in a copy of its own: it knows no offset. Failed when it finds anything."""
        with tempfile.NamedTemporaryFile(dir=self.disk.path.parent, prefix=".privet-fat-") as copy:
            taken_out(self.disk, copy.fileno())
            ran("fsck.vfat", "-n", copy.name)

    def _proven(self, at: int) -> int:
        with self.disk.path.open("rb") as file:
            if os.pread(file.fileno(), SIZE, at) != blank():
                raise Failed("the slot is not where the boot partition says; take a fresh image")
        return at

    def _remove(self, name: str) -> None:
        if name in self.names():
            ran("mdel", "-i", self.disk.on_fat, f"::/{name}")


def taken_out(disk: Disk, copy: int) -> None:
    """Copy what is not zeros of the boot partition to an open, empty file."""
    start, end = disk.boot.start, disk.boot.start + disk.boot.length
    os.ftruncate(copy, disk.boot.length)
    with disk.path.open("rb") as file:
        for at in range(start, end, 1 << 20):
            piece = os.pread(file.fileno(), min(1 << 20, end - at), at)
            if piece.strip(b"\0"):
                os.pwrite(copy, piece, at - start)
