"""The simulated FAT partition: what is removed or replaced stays in its clusters, what is shredded does not."""

import pytest

from agent.core.errors import Unreadable
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.faults import NoSync
from agent.system.simulated.programs import mount
from agent.system.simulated.volume import attach

RAW = "/dev/mmcblk0p1"
FILE = "/boot/firmware/userconf.txt"
SECRET = b"pi:$5$a hash that opens the door"


def card() -> SimulatedSystem:
    """Make a device with a boot partition on which a secret lies."""

    def lay(device: SimulatedSystem) -> None:
        device.programs["mount"] = mount
        attach(device, "/boot/firmware")
        device.edit(FILE, SECRET * 40, in_place=True)

    return SimulatedSystem(image=lay, shipped=False)


def raw(device: SimulatedSystem) -> bool:
    """Say whether the raw partition still holds the secret."""
    return device.search(RAW, (SECRET,)) == (SECRET,)


@pytest.mark.parametrize("lose", ["all", "none", "torn"])
def test_what_programs_leave(lose: str) -> None:
    """rm, sed -i and > leave the old text in clusters, as on a real vfat; a shred leaves nothing, across a cut."""
    ways = {
        "rm": lambda device: device.remove(FILE),
        "sed -i": lambda device: device.edit(FILE, b"redacted"),
        ">": lambda device: device.edit(FILE, b"redacted", in_place=True),
        "shred": lambda device: device.shred(FILE),
    }
    left = {}
    for name, way in ways.items():
        device = card()
        assert raw(device)
        way(device)
        device.disk.settle()
        device.crash(lose)
        left[name] = raw(device)
    assert left == {"rm": True, "sed -i": True, ">": True, "shred": False}


def test_a_shred_without_its_sync_leaves_the_secret() -> None:
    """The twin: zeros that were not synced before the name went; power goes, and the clusters hold the old bytes."""
    device = card()
    device.calls = twin = NoSync(device.calls, files=True)
    device.shred(FILE)
    device.calls = twin.inner
    assert twin.fired
    device.crash(lambda pending: "kept" if pending.kind == "names" else "lost")
    assert raw(device)


def test_a_full_partition() -> None:
    """A partition takes as much as it has clusters, then says so; filled with zeros, none of the old is left."""
    device = card()
    device.remove(FILE)
    assert raw(device)
    for _ in range(256):
        device.append("/boot/firmware/zeros", bytes(512))
    with pytest.raises(Unreadable, match="the disk is full"):
        device.append("/boot/firmware/zeros", bytes(512))
    assert not raw(device)
    assert device.stat("/boot/firmware/zeros").size == 256 * 512
