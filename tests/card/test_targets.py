"""Which disks may be written: every rule refuses its own kind of wrong disk, with a reason in plain words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.errors import BadInput
from provisioning.card.targets.content import Content
from provisioning.card.targets.found import Disk, look
from provisioning.card.targets.rules import LARGEST, Wanted, reasons, waiver
from provisioning.card.targets.shown import shown
from tests.card.machine import Machine

BLANK = Content("blank", "nothing")
ANY = Wanted()
Lay = Callable[[Machine], None]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine that runs from its own disk."""
    made = Machine(tmp_path)
    made.own()
    return made


def told(machine: Machine, name: str = "sdb", held: Content = BLANK, wanted: Wanted = ANY, named: bool = True) -> str:
    """Return all reasons against a disk."""
    return "; ".join(one.told for one in reasons(disk(machine, name), held, wanted, named=named))


def disk(machine: Machine, name: str) -> Disk:
    """Look at the machine and return one disk."""
    return next(one for one in look(machine.root) if one.name == name)


def test_a_card_in_a_reader_may_be_written(machine: Machine):
    """A card in a USB reader and one in a slot are accepted, and told apart by where they are plugged in."""
    machine.reader()
    machine.reader("sdc", "1-4", unit=1)
    machine.reader("sdd", "2-1.4.2")
    machine.slot()
    for name, port, kind in (("sdb", "1-4", "usb"), ("sdc", "1-4:1", "usb"), ("sdd", "2-1.4.2", "usb")):
        assert told(machine, name, named=False) == ""
        found = disk(machine, name)
        assert (found.port, found.kind, found.serial, found.size) == (port, kind, "000000001536", 31_914_983_424)
    assert told(machine, "mmcblk0", named=False) == ""
    card = disk(machine, "mmcblk0")
    assert (card.kind, card.port, card.serial[:6], card.model) == ("sd", "mmc0", "035344", "SL16G")


def mapped(machine: Machine) -> None:
    """Lay an encrypted volume, mounted at /home, over a partition of the stick."""
    machine.reader()
    machine.disk("virtual/block/dm-0", "253:0", 10**9)
    slaves = machine.root / "sys/devices/virtual/block/dm-0/slaves"
    slaves.mkdir()
    (slaves / "sdb1").symlink_to((machine.root / "sys/class/block/sdb1").resolve())
    (machine.root / "sys/class/block/sdb1/holders/dm-0").symlink_to(machine.root / "sys/block/dm-0")
    machine.append("proc/self/mountinfo", "40 28 253:0 / /home rw - ext4 /dev/mapper/home rw\n")


def pooled(machine: Machine) -> None:
    """Mount a btrfs, whose device number is none of a disk's."""
    machine.reader()
    machine.append("proc/self/mountinfo", "41 28 0:45 /sub /media/a\\040b rw - btrfs /dev/sdb2 rw\n")


def mounted(machine: Machine) -> None:
    """Let the desktop mount the card."""
    machine.reader()
    machine.append("proc/self/mountinfo", "42 28 8:33 / /media/ann/bootfs rw - vfat /dev/sdb1 rw\n")


def swapping(machine: Machine) -> None:
    """Swap to a partition of it."""
    machine.reader()
    machine.append("proc/swaps", "/dev/sdb2                               partition\t524284\t0\t-2\n")


WRONG: dict[str, tuple[Lay, str, str]] = {
    "the machine's own": (lambda machine: None, "nvme0n1", "this machine runs from it (/); it is built in"),
    "backing /home": (mapped, "sdb", "this machine runs from it (/home); another device is made of it (dm-0)"),
    "a mapper": (mapped, "dm-0", "this machine runs from it (/home); it is no card"),
    "mounted": (mounted, "sdb", "it is mounted at /media/ann/bootfs; unmount it"),
    "mounted as a pool": (pooled, "sdb", "it is mounted at /media/a b; unmount it"),
    "swap": (swapping, "sdb", "this machine swaps to it"),
    "write-protected": (lambda machine: machine.reader(ro="1\n"), "sdb", "write-protected"),
    "no card in it": (lambda machine: machine.reader(size=0), "sdb", "no card is in it"),
    "a USB hard disk": (lambda machine: machine.reader(removable="0\n"), "sdb", "it is a USB disk, not a card"),
    "too large": (lambda machine: machine.reader(size=4 * 10**12), "sdb", "it is larger than a card: 4 TB"),
    "soldered in": (lambda machine: machine.slot(kind="MMC"), "mmcblk0", "it is memory that is soldered in"),
    "its boot part": (lambda machine: machine.slot("mmcblk0boot0"), "mmcblk0boot0", "it is memory that is soldered in"),
    "another inner disk": (
        lambda machine: machine.disk("pci0000:00/ata1/host0/target0:0:0/0:0:0:0/block/sda", "8:0", 10**12),
        "sda", "it is built into this machine",
    ),
    "memory": (lambda machine: machine.disk("virtual/block/zram0", "254:0", 10**9), "zram0", "it is no card"),
    "a disc": (lambda machine: machine.reader("sr0", device__type="5\n"), "sr0", "it is no card"),
    "a loop without file": (lambda machine: machine.disk("virtual/block/loop3", "7:3", 10**9), "loop3", "no file is"),
}  # fmt: skip


@pytest.mark.parametrize(("lay", "name", "reason"), WRONG.values(), ids=WRONG)
def test_a_wrong_disk_is_refused_with_its_reason(machine: Machine, lay: Lay, name: str, reason: str):
    """Each rule refuses what it is for; beside it stands the same machine with a good card, which is accepted."""
    lay(machine)
    machine.reader("sdx", "3-1")
    assert reason in told(machine, name)
    assert told(machine, "sdx", named=False) == ""


def test_what_is_on_a_disk_decides_too(machine: Machine):
    """A file system that is not recognised as free is somebody's."""
    machine.reader()
    photos = Content("unknown", "a file system with files on it")
    assert told(machine, held=photos) == "it holds a file system with files on it"
    for kind in ("blank", "empty", "pi", "unfinished"):
        assert told(machine, held=Content(kind, "x")) == ""


def test_a_waiver_names_the_disk_and_its_size(machine: Machine):
    """It lifts what a person may know better, for that disk alone, and never what would destroy this machine."""
    machine.reader(size=LARGEST + 512, removable="0\n")
    photos, full = Content("unknown", "photographs"), LARGEST + 512
    wanted = Wanted(waivers=frozenset({("sdb", full)}))
    assert told(machine, held=photos).count(";") == 2
    assert told(machine, held=photos, wanted=wanted) == ""
    for other in (("sdb", full - 512), ("sdc", full)):
        assert told(machine, held=photos, wanted=Wanted(waivers=frozenset({other}))) == told(machine, held=photos)
    mounted_line = "42 28 8:33 / /media/ann/bootfs rw - vfat /dev/sdb1 rw\n"
    machine.append("proc/self/mountinfo", mounted_line)
    assert told(machine, held=photos, wanted=wanted) == "it is mounted at /media/ann/bootfs; unmount it"


def test_a_waiver_is_written_exactly():
    """A name and a number of bytes, nothing less."""
    assert waiver("sdb=31914983424") == ("sdb", 31914983424)
    for text in ("sdb", "sdb=", "=1", "sdb=32G", "/dev/sdb=1", "all", "sdb=-1", "sdb=1 ", "*=1"):
        with pytest.raises(BadInput):
            waiver(text)


def test_a_station_writes_in_its_own_readers_only(machine: Machine):
    """A card in any other place is left alone, even where it would be accepted otherwise."""
    machine.reader()
    machine.reader("sdc", "1-4", unit=1)
    machine.reader("sdd", "1-41")
    wanted = Wanted(ports=("1-4",))
    assert told(machine, "sdb", wanted=wanted) == told(machine, "sdc", wanted=wanted) == ""
    assert told(machine, "sdd", wanted=wanted) == "it is not in a reader of this station (it is at 1-41)"


def test_a_loop_device_is_written_when_it_is_named(machine: Machine):
    """Nobody finds a loop device by looking for cards; whoever names it means it."""
    machine.disk("virtual/block/loop4", "7:4", 10**9, loop__backing_file="/srv/card.img\n")
    assert told(machine, "loop4", named=True) == ""
    assert told(machine, "loop4", named=False) == "a loop device is a file; name it to write it"


def test_a_name_cannot_hide_what_stands_around_it(machine: Machine):
    """Control and bidirectional characters of a reader's name never reach a terminal."""
    machine.reader(device__model="\x1b[2J\u202eSD \u2066card\u2069\x07\u200b\n\x9b31m")
    found = disk(machine, "sdb")
    assert shown(found.model) == "Generic [2JSD card 31m"
    assert shown("a" * 99) == "a" * 47 + "…"
    assert shown("Zoë, 東京") == "Zoë, 東京"


def test_a_machine_that_tells_nothing_has_no_disks(tmp_path: Path):
    """Without /sys there is nothing to write to."""
    assert look(tmp_path) == ()
