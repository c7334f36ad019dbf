"""Swap as the kernel tells it and as systemd's own generator reads /etc/fstab."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

SCRIPT = """
import json, sys
from agent.providers.linux import swap
print(json.dumps([swap.unit_of(path) for path in sys.argv[1:]]))
"""


def test_names_of_units_are_those_of_systemd(device: Device) -> None:
    """Every path becomes the unit that systemd-escape names."""
    paths = ["/var/swap", "/dev/mmcblk0p3", "/dev/disk/by-uuid/0-a", "/.hidden", "/a b/ü", "/x.y_z:1"]
    theirs = device.must(["systemd-escape", "--path", "--suffix=swap", *paths]).split()
    assert device.ask(SCRIPT, *paths) == theirs


@pytest.mark.parametrize(
    ("fstab", "crypttab", "kept"),
    [
        ("/var/swap none swap sw 0 0\n", "", "card"),
        ("UUID=0-a none swap defaults 0 0\n", "", "card"),
        ("/dev/mapper/cs none swap sw 0 0\n", "cs /dev/mmcblk0p3 /dev/urandom swap\n", "private"),
        ("/dev/mapper/cs none swap sw 0 0\n", "", "card"),
        ("/var/swap none swap noauto 0 0\n# /var/x none swap sw 0 0\n", "", "private"),
        ("/dev/zram0 none swap sw 0 0\n", "", "private"),
    ],
)
def test_what_the_next_start_swaps_to(device: Device, fstab: str, crypttab: str, kept: str) -> None:
    """Our reading of fstab and crypttab, beside the units that systemd's generator makes of them; then none is left."""
    device.write("/etc/fstab", fstab)
    device.write("/etc/crypttab", crypttab)
    found = look(device, "memory.swap")
    assert found["kept"] == kept, found
    generator = "/usr/lib/systemd/system-generators/systemd-fstab-generator"
    device.must(["sh", "-c", f"mkdir -p /tmp/g && {generator} /tmp/g /tmp/g /tmp/g"])
    units = device.run(["sh", "-c", "ls /tmp/g/swap.target.wants 2>/dev/null; ls /tmp/g | grep swap$"]).stdout.decode()
    assert kept == "private" or ".swap" in units or "/var" not in fstab  # in a container it makes none of a disk
    assert enforce(device, "memory.swap", "private") == ""
    assert look(device, "memory.swap")["kept"] == "private"
    for unit in {line for line in units.split() if line.endswith(".swap")} if kept == "card" else ():
        assert device.run(["test", "-s", f"/etc/systemd/system/{unit}.d/zz-privet.conf"]).returncode == 0


def test_dphys_swapfile_is_found_and_blocked(served: Device) -> None:
    """The real package's unit is enabled as it ships; afterwards systemd's own check of its condition fails."""
    assert look(served, "memory.swap")["kept"] == "card"
    assert enforce(served, "memory.swap", "private") == ""
    assert look(served, "memory.swap")["kept"] == "private"
    block = served.read("/etc/systemd/system/dphys-swapfile.service.d/zz-privet.conf")
    condition = next(line for line in block.splitlines() if line.startswith("Condition"))
    assert served.run(["systemd-analyze", "condition", condition]).returncode != 0
    assert enforce(served, "memory.swap", "card") == ""
    assert look(served, "memory.swap")["kept"] == "card"
