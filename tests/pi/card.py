"""A card as Raspberry Pi OS lays it out: MBR, FAT32 `bootfs` at 8 MiB, ext4 `rootfs` after it, `root=PARTUUID`.

No root is needed beyond reading the tree, no loop device and no mount: each file system is written at its offset.
"""

import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pi.initrd import initrd, kernel

SECTOR = 512
SIGNATURE = 440  # in the first sector; the table of partitions follows, then two bytes that mark its end
FAR = b"\xfe\xff\xff"  # "count sectors instead" where heads and cylinders once stood
MIB = 1 << 20
SIZE = 2048 * MIB  # a power of two, or QEMU's card reader refuses it
ALIGNED = 8 * MIB
BOOT = 512 * MIB
DEVICE_TREE = "bcm2837-rpi-3-b.dtb"
KERNEL = "kernel8.img"
INITRD = "initramfs8"
CONFIG = "[all]\narm_64bit=1\nkernel=kernel8.img\ninitramfs initramfs8 followkernel\nenable_uart=1\n"
WORDS = "console=serial0,115200 console=tty1 root=PARTUUID={}-02 rootfstype=ext4 fsck.repair=yes rootwait"
FAT32, LINUX = 0x0C, 0x83
# Beyond what Raspberry Pi OS has: an emulated card reader on a busy machine takes more than systemd's 90 seconds.
MOUNTS = """\
proc /proc proc defaults 0 0
PARTUUID={0}-01 /boot/firmware vfat defaults,x-systemd.device-timeout=30min 0 2
PARTUUID={0}-02 / ext4 defaults,noatime 0 1
"""


@dataclass(frozen=True)
class Card:
    """A card image and where its two file systems begin (bytes)."""

    image: Path
    signature: str
    boot: int = ALIGNED
    root: int = ALIGNED + BOOT

    def fat(self) -> str:
        """Return how mtools name the FAT file system."""
        return f"{self.image}@@{self.boot}"

    def boot_files(self) -> list[str]:
        """Return the names on the FAT side."""
        said = mtool("mdir", "-b", "-i", self.fat(), "::/").decode()
        return sorted(line.removeprefix("::/") for line in said.splitlines() if not line.endswith("/"))

    def take(self, folder: Path, *names: str) -> list[Path]:
        """Copy files of the FAT side into a folder, as the firmware of a Pi would load them."""
        mtool("mcopy", "-n", "-o", "-i", self.fat(), *(f"::/{name}" for name in names), str(folder))
        return [folder / name for name in names]

    def lay(self, files: dict[str, bytes]) -> None:
        """Lay files on the FAT side, as a person with the card in a reader does."""
        with tempfile.TemporaryDirectory(prefix="privet-bootfs-") as name:
            for laid, content in files.items():
                (Path(name) / laid).write_bytes(content)
            mtool("mcopy", "-o", "-i", self.fat(), *(str(Path(name) / laid) for laid in files), "::/")

    def words(self) -> str:
        """Return the kernel's words that stand on the card."""
        return mtool("mtype", "-i", self.fat(), "::/cmdline.txt").decode().strip()

    def found(self, *needles: bytes) -> dict[bytes, list[int]]:
        """Return where the raw image holds each of these texts (bytes from its start), holes left out."""
        longest = max(len(needle) for needle in needles)
        hits: dict[bytes, list[int]] = {needle: [] for needle in needles}
        with self.image.open("rb") as file:
            for start, end in extents(file.fileno()):
                for at in range(start, end, 16 * MIB):
                    chunk = os.pread(file.fileno(), min(16 * MIB, end - at) + longest, at)
                    for needle, places in hits.items():
                        places += [at + hit.start() for hit in re.finditer(re.escape(needle), chunk)]
        return {needle: sorted(set(places)) for needle, places in hits.items()}

    @contextmanager
    def rootfs(self) -> Iterator[Path]:
        """Give a copy of the ext4 side, its journal replayed; the card itself is left alone, a Pi may be using it."""
        with tempfile.TemporaryDirectory(dir=self.image.parent) as folder:
            copy = Path(folder) / "rootfs"
            argv = ["dd", f"if={self.image}", f"of={copy}", "bs=8M", f"skip={self.root // ALIGNED}", "conv=sparse"]
            subprocess.run(argv, check=True, capture_output=True)
            subprocess.run(["e2fsck", "-p", str(copy)], check=False, capture_output=True)
            yield copy

    def file(self, path: str) -> bytes:
        """Return a file of the ext4 side; empty when it is not there."""
        with self.rootfs() as copy:
            argv = ["debugfs", "-R", f"cat {path}", str(copy)]
            return subprocess.run(argv, check=True, capture_output=True).stdout

    def sound(self) -> str:
        """Return what e2fsck has to say about the ext4 side after its journal was replayed; empty when it is sound."""
        with self.rootfs() as copy:
            done = subprocess.run(["e2fsck", "-fn", str(copy)], check=False, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout[-2000:]


def extents(descriptor: int) -> list[tuple[int, int]]:
    """Return the parts of a sparse file that were ever written."""
    found, at = [], 0
    size = os.fstat(descriptor).st_size
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # nothing more
            break
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        found.append((start, at))
    return found


def mtool(*argv: str) -> bytes:
    """Run one of the mtools."""
    environment = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run(argv, env=environment, capture_output=True, check=True).stdout


def make(tree: Path, image: Path, boot_files: dict[str, bytes]) -> Card:
    """Write a tree to a new card image; `boot_files` are laid beside the firmware on the FAT side."""
    card = Card(image, os.urandom(4).hex())
    signature = card.signature
    (tree / "etc/fstab").write_text(MOUNTS.format(signature), encoding="ascii")
    with image.open("wb") as file:
        file.truncate(SIZE)
        file.seek(SIGNATURE)
        file.write(partitions(card))
    fat_side(card, tree, boot_files)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-O", "^huge_file,^64bit", "-b", "4096", "-m", "1"]
    argv += ["-d", str(tree), "-E", f"offset={card.root},lazy_itable_init=1,nodiscard"]
    subprocess.run([*argv, str(image), f"{(SIZE - card.root) // 1024}k"], check=True)
    return card


def partitions(card: Card) -> bytes:
    """Return what stands in the first sector from the disk's signature on: two partitions, by sector number alone.

    Not sfdisk: it ends with a sync of the whole machine, and a file system that another test froze stops it for good.
    """
    signature = struct.pack("<IH", int(card.signature, 16), 0)
    table = b""
    for kind, start, size in ((FAT32, card.boot, BOOT), (LINUX, card.root, SIZE - card.root)):
        table += struct.pack("<B3sB3sII", 0, FAR, kind, FAR, start // SECTOR, size // SECTOR)
    return signature + table.ljust(64, b"\0") + b"\x55\xaa"


def fat_side(card: Card, tree: Path, boot_files: dict[str, bytes]) -> None:
    """Make the FAT file system and fill it: firmware, device trees, kernel, initrd, the two texts, what was laid."""
    argv = ["mkfs.vfat", "-F", "32", "-s", "1", "-n", "bootfs", f"--offset={card.boot // SECTOR}"]
    subprocess.run([*argv, str(card.image), str(BOOT // 1024)], check=True, capture_output=True)
    with tempfile.TemporaryDirectory(prefix="privet-bootfs-") as name:
        folder = Path(name)
        for path in (*tree.glob("usr/lib/raspi-firmware/*"), *tree.glob("usr/lib/linux-image-*/broadcom/bcm283*.dtb")):
            shutil.copy(path, folder)
        shutil.copy(kernel(tree), folder / KERNEL)
        (folder / INITRD).write_bytes(initrd(tree))
        (folder / "cmdline.txt").write_text(WORDS.format(card.signature) + "\n", encoding="ascii")
        (folder / "config.txt").write_text(CONFIG, encoding="ascii")
        for laid, content in boot_files.items():
            (folder / laid).write_bytes(content)
        mtool("mcopy", "-i", card.fat(), "-s", "-Q", *(str(path) for path in sorted(folder.iterdir())), "::/")
