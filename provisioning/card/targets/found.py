"""Which disks this machine has, read from /sys and /proc alone: nothing is opened, no program is run.

`look` takes the directory that stands for `/`, so that any machine can be laid out as a tree of files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR = 512  # the unit of /sys/block/*/size, whatever the disk's own is
ESCAPED = re.compile(r"\\([0-7]{3})")
USB = re.compile(r"^\d+-\d+(?:\.\d+)*$")  # a port of the USB tree: bus, then the way through the hubs
SCSI = re.compile(r"^\d+:\d+:\d+:\d+$")
CARD = re.compile(r"^mmcblk\d+$")
OPTICAL = "5"  # the SCSI type of what reads discs


class Disk(NamedTuple):
    """One whole disk as the kernel tells of it. Names are raw: `shown` makes them fit for a terminal."""

    name: str
    size: int
    kind: str  # usb, sd, mmc (built in), loop, virtual, disc, built-in
    removable: bool
    read_only: bool
    port: str  # where it is plugged in; stays the same whichever card is there
    model: str
    serial: str
    sequence: int
    mounts: tuple[str, ...]
    swap: bool
    holders: tuple[str, ...]
    backing: str  # of a loop device

    @property
    def node(self) -> Path:
        """Return its device node."""
        return Path("/dev") / self.name


def look(root: Path = Path("/")) -> tuple[Disk, ...]:
    """Return every disk, sorted by name."""
    mounted = dict[str, list[str]]()
    for name, point in mounts(root):
        mounted.setdefault(name, []).append(point)
    swapped = {under for device in swaps(root) for under in disks_under(root, device)}
    names = sorted(path.name for path in (root / "sys/block").glob("*"))
    return tuple(disk(root, name, tuple(mounted.get(name, ())), name in swapped) for name in names)


def disk(root: Path, name: str, mounted: tuple[str, ...], swap: bool) -> Disk:
    """Read what the kernel tells of one disk."""
    folder = root / "sys/block" / name
    place = folder.resolve().relative_to(root.resolve())
    maker = f"{word(folder / 'device/vendor')} {word(folder / 'device/model') or word(folder / 'device/name')}"
    return Disk(
        name=name,
        size=number(folder / "size") * SECTOR,
        kind=kind(name, place, word(folder / "device/type")),
        removable=number(folder / "removable") == 1,
        read_only=number(folder / "ro") == 1,
        port=port(name, place),
        model=maker.strip(),
        serial=serial(folder),
        sequence=number(folder / "diskseq"),
        mounts=mounted,
        swap=swap,
        holders=tuple(sorted(path.name for path in (*folder.glob("holders/*"), *folder.glob("*/holders/*")))),
        backing=word(folder / "loop/backing_file"),
    )


def kind(name: str, place: Path, device_type: str) -> str:
    """Say what sort of disk it is, by where it hangs in the tree of devices."""
    if name.startswith("loop"):
        return "loop"
    if "virtual" in place.parts:
        return "virtual"
    if name.startswith("mmcblk"):
        return "sd" if device_type == "SD" and CARD.match(name) else "mmc"
    if name.startswith(("sr", "fd")) or device_type == OPTICAL:
        return "disc"
    return "usb" if any(re.fullmatch(r"usb\d+", part) for part in place.parts) else "built-in"


def port(name: str, place: Path) -> str:
    """Name where it is plugged in: USB bus and ports, with the number of the slot in a reader that has several."""
    usb = [part for part in place.parts if USB.match(part)]
    if usb:
        unit = next((part.rpartition(":")[2] for part in place.parts if SCSI.match(part)), "0")
        return usb[-1] if unit == "0" else f"{usb[-1]}:{unit}"
    hosts = [part for part in place.parts if re.fullmatch(r"mmc\d+", part)]
    return hosts[-1] if hosts else name


def serial(folder: Path) -> str:
    """Return the number that a card (its CID), a disk or else its USB reader calls its own; empty when none does."""
    for name in ("device/cid", "device/serial", "serial", "device/wwid", "loop/backing_file"):
        if found := word(folder / name):
            return found
    for above in folder.resolve().parents:
        if (above / "idVendor").exists():
            return word(above / "serial")
    return ""


def mounts(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each disk with each place where something of it is mounted, through mappers and arrays."""
    for line in text(root / "proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        before, after = fields.split(), rest.split()
        if len(before) < 5 or len(after) < 2:
            continue
        point, source = plain(before[4]), plain(after[1])
        found = {*disks_under(root, before[2]), *(disks_under(root, source) if source.startswith("/dev/") else ())}
        yield from ((one, point) for one in sorted(found))


def swaps(root: Path) -> list[str]:
    """Return the devices that are swapped to."""
    lines = text(root / "proc/swaps").splitlines()[1:]
    return [plain(line.split()[0]) for line in lines if line.startswith("/dev/")]


def disks_under(root: Path, device: str) -> set[str]:
    """Return the whole disks beneath a device, given as numbers (8:1) or as a path in /dev."""
    numbers = re.fullmatch(r"\d+:\d+", device)
    place = root / ("sys/dev/block" if numbers else "sys/class/block") / (device if numbers else Path(device).name)
    return disks_of(place.resolve()) if place.exists() else set()


def disks_of(place: Path) -> set[str]:
    """Return a disk, or the disk of a partition, with all that it is made of in its turn."""
    whole = place.parent if (place / "partition").exists() else place
    below = [found for one in (whole / "slaves").glob("*") for found in disks_of(one.resolve())]
    return {whole.name, *below}


def plain(escaped: str) -> str:
    """Undo the escapes of /proc, which writes a space as a backslash and 040."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)), escaped)


def text(path: Path) -> str:
    """Read a file of the kernel; empty when it is not there."""
    try:
        return path.read_bytes()[: 1 << 20].decode("utf-8", "replace")
    except OSError:
        return ""


def word(path: Path) -> str:
    """Read one line."""
    return text(path).strip("\x00\n ")[:256]


def number(path: Path) -> int:
    """Read one number; 0 when there is none."""
    found = word(path)
    return int(found) if found.isdecimal() else 0
