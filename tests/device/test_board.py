"""Changes of the boot partition on a real FAT32: whatever part of their sectors reached the card, its files are whole.

The card is made by mkfs.vfat and read by mtools, which know nothing of ours; what a kernel writes for an overwrite or
an append (data, entry, both copies of the chain) is laid by `Fat`. Of the sectors of each step every subset is tried:
no order is assumed of a card. That a mounted card takes these writes is for tests/pi, whose kernel has vfat.
"""

import struct
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from agent import registry
from agent.core.plan import Append, Overwrite
from agent.system import board
from agent.system.simulated import SimulatedSystem, raspberry

SECTOR = 512
SIZE = 40 << 20
SETTINGS = registry.settings()
NEEDED = {"root=PARTUUID=8a676486-02", "rootfstype=ext4", "rootwait", "console=tty1"}
STORIES = {
    "a word out and in again": (raspberry.CONFIG, [("serial.console", "off"), ("serial.console", "login")]),
    "a line out and in again": (raspberry.CONFIG, [("camera.attached", "off"), ("camera.attached", "attached")]),
    "a line that was never there": (b"arm_64bit=1\n", [("camera.attached", "attached"), ("camera.attached", "off")]),
    "a file that ends with its cluster": (
        b"arm_64bit=1\n" + b"#" * 499 + b"\n",
        [("camera.attached", "attached"), ("camera.attached", "off")],
    ),
}


class Fat:
    """A FAT32 image and what a kernel writes to it: data sectors, the entry of a file, links of its chain."""

    def __init__(self, image: bytes) -> None:
        self.image = bytearray(image)
        self.reserved: int = struct.unpack_from("<H", image, 14)[0]
        self.copies = image[16]
        self.long: int = struct.unpack_from("<I", image, 36)[0]

    def link(self, cluster: int) -> int:
        """Return which cluster comes after one."""
        number: int = struct.unpack_from("<I", self.image, self.reserved * SECTOR + cluster * 4)[0]
        return number & 0x0FFFFFFF

    def place(self, cluster: int) -> int:
        """Return where a cluster of one sector lies."""
        return (self.reserved + self.copies * self.long + cluster - 2) * SECTOR

    def entry(self, name: str) -> int:
        """Return where the short entry of a file lies in the first cluster of the root."""
        stem, _, end = name.upper().partition(".")
        return self.image.index(f"{stem:8}{end:3}".encode(), self.place(2))

    def clusters(self, name: str) -> list[int]:
        """Return the chain of a file."""
        high, low = struct.unpack_from("<H4xH", self.image, self.entry(name) + 20)
        found = [high << 16 | low]
        while self.link(found[-1]) < 0x0FFFFFF8:
            found.append(self.link(found[-1]))
        return found

    def lay(self, name: str, content: bytes) -> None:
        """Put a file's bytes where it lies; a longer one takes free clusters at the end of its chain."""
        chain = self.clusters(name)
        for new in range(3, 4000):
            if len(chain) * SECTOR < len(content) and self.link(new) == 0:
                for copy in range(self.copies):
                    base = (self.reserved + copy * self.long) * SECTOR
                    struct.pack_into("<I", self.image, base + chain[-1] * 4, new)
                    struct.pack_into("<I", self.image, base + new * 4, 0x0FFFFFFF)
                chain.append(new)
                free = struct.unpack_from("<I", self.image, SECTOR + 488)[0]
                struct.pack_into("<I", self.image, SECTOR + 488, free - 1)
        for number, cluster in enumerate(chain):
            part = content[number * SECTOR : (number + 1) * SECTOR]
            self.image[self.place(cluster) : self.place(cluster) + len(part)] = part
        at = self.entry(name)
        struct.pack_into("<I", self.image, at + 28, len(content))
        self.image[at + 22] ^= 1  # the time of its last change


def card(folder: Path, config: bytes) -> bytes:
    """Make a FAT32 as mkfs.vfat and mtools do; free clusters hold what somebody left in them."""
    image = folder / "bootfs"
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.vfat", "-F", "32", "-s", "1", str(image)], check=True, capture_output=True)
    files = [("left.txt", b"camera_auto_detect=1\nkernel=other.img\n" * 40)]
    for name, content in (*files, ("cmdline.txt", raspberry.CMDLINE), ("config.txt", config)):
        (folder / name).write_bytes(content)
        subprocess.run(["mcopy", "-i", str(image), str(folder / name), f"::/{name}"], check=True, capture_output=True)
    subprocess.run(["mdel", "-i", str(image), "::/left.txt"], check=True)
    return image.read_bytes()


def lived(folder: Path, config: bytes, story: list[tuple[str, str]]) -> Iterator[tuple[bytes, bytes]]:
    """Enforce values; return the card before and after each step that writes to it."""
    now = card(folder, config)
    for name, value in story:
        provider, params = registry.provider(SETTINGS[name].provider), SETTINGS[name].params
        device = device_of(folder, now)
        for step in provider.steps(provider.prepare(device, params), value):  # type: ignore[attr-defined]
            if isinstance(step, Append | Overwrite):
                file = step.path.rpartition("/")[2]
                if isinstance(step, Append) and not step.before:
                    now = made(folder, now, file, step.content)
                    continue
                fat = Fat(now)
                fat.lay(file, (step.before if isinstance(step, Append) else b"") + step.content)
                yield now, bytes(fat.image)
                now = bytes(fat.image)


def made(folder: Path, now: bytes, name: str, content: bytes) -> bytes:
    """Return the card with a new file; nothing includes it yet."""
    (folder / "card").write_bytes(now)
    (folder / name).write_bytes(content)
    subprocess.run(["mcopy", "-i", str(folder / "card"), str(folder / name), f"::/{name}"], check=True)
    return (folder / "card").read_bytes()


def device_of(folder: Path, state: bytes) -> SimulatedSystem:
    """Start a simulated device with the files of a card, as mtools read them."""
    torn = folder / "torn"
    torn.write_bytes(state)
    device = SimulatedSystem(image=raspberry.board)
    for file in ("cmdline.txt", "config.txt", "privet.txt"):
        device.hand.discard(f"{raspberry.BOOT}/{file}")
        content = read(torn, file)
        if content:
            device.edit(f"{raspberry.BOOT}/{file}", content, in_place=True)
    return device


def between(before: bytes, after: bytes) -> Iterator[bytes]:
    """Return the card with each subset of the sectors that differ."""
    differ = [at for at in range(0, SIZE, SECTOR) if before[at : at + SECTOR] != after[at : at + SECTOR]]
    assert 0 < len(differ) < 9, differ
    for count in range(len(differ) + 1):
        for chosen in combinations(differ, count):
            state = bytearray(before)
            for at in chosen:
                state[at : at + SECTOR] = after[at : at + SECTOR]
            yield bytes(state)


def read(image: Path, name: str) -> bytes:
    """Read a file as the firmware does; nothing when it is not there."""
    done = subprocess.run(["mtype", "-i", str(image), f"::/{name}"], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def whole(state: Path, config: bytes) -> bool:
    """Say whether the firmware finds the kernel's line and every old line, or that line as a comment."""
    words = {word for _, word in board.words(read(state, "cmdline.txt"))}
    found = {row.lstrip(b"#")[1:] for row in read(state, "config.txt").split(b"\n")} | {
        row[1:] for row in read(state, "config.txt").split(b"\n")
    }
    return (
        words >= NEEDED and {row.lstrip(b"#")[1:] for row in config.split(b"\n") if row[:1] not in (b"#", b"")} <= found
    )


@pytest.mark.parametrize("name", STORIES)
def test_no_part_of_a_change_keeps_a_card_from_starting(name: str, tmp_path: Path) -> None:
    """Every subset of the sectors of every step leaves both files whole, and what is kept old or new."""
    config, story = STORIES[name]
    setting = SETTINGS[story[0][0]]
    provider, lattice = registry.provider(setting.provider), setting.lattice()
    count = 0
    for old, new in lived(tmp_path, config, story):
        for state in between(old, new):
            device = device_of(tmp_path, state)
            assert whole(tmp_path / "torn", config)
            assert lattice.member(provider.probe(device, setting.params).kept or "")
            count += 1
    done = subprocess.run(["fsck.vfat", "-n", str(tmp_path / "torn")], capture_output=True, check=False)
    assert count >= 8 and b"cluster" not in done.stdout.lower().replace(b"clusters", b""), done.stdout


def test_a_rename_does_keep_a_card_from_starting(tmp_path: Path) -> None:
    """The twin: a file that was written anew and renamed passes a state in which there is none of its name."""
    before = card(tmp_path, raspberry.CONFIG)
    beside = made(tmp_path, before, "config.new", raspberry.CONFIG)
    for act in (
        ["mdel", "-i", str(tmp_path / "card"), "::/config.txt"],
        ["mren", "-i", str(tmp_path / "card"), "::/config.new", "config.txt"],
    ):
        subprocess.run(act, check=True)
    after = (tmp_path / "card").read_bytes()
    lost = 0
    for state in between(beside, after):
        (tmp_path / "torn").write_bytes(state)
        lost += not whole(tmp_path / "torn", raspberry.CONFIG)
    assert lost
