"""The other side of the cable: what this device passes itself off as to a computer, played by the same kernel."""

import pytest

from tests.radio.asked import enforce, look
from tests.vm.figures import tell
from tests.vm.guest import Guest

GUARD = "privet-guard.service"
NAME, OURS = "usb.gadget", "/etc/modprobe.d/00-privet-gadget.conf"
COMPUTER = "dummy_hcd"  # a cable, and the computer at its end
NETWORK, PLAYED = "0525:a4a2", "1209:0001"  # what g_ether calls itself, and what the program below does
WAYS = {"g_ether": NETWORK, "g_serial": "0525:a4a7", "gadgetfs": PLAYED}
# A program that passes for a device of its own making: it says what it is, and the computer takes its word.
PLAY = """
import glob, os, struct, time
os.makedirs("/dev/gadget", exist_ok=True)
os.system("mount -t gadgetfs gadgetfs /dev/gadget")
config = struct.pack("<BBHBBBBB", 9, 2, 18, 1, 1, 0, 0x80, 1) + struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 0, 255, 0, 0, 0)
device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x200, 0, 0, 0, 64, 0x1209, 1, 1, 0, 0, 0, 1)
held = os.open(glob.glob("/dev/gadget/*")[0], os.O_RDWR)
os.write(held, struct.pack("<I", 0) + config + config + device)
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def cable(guest: Guest) -> Guest:
    """Give a machine that a cable leads away from, its guard looking away; what it settled at its first boot stands."""
    guest.must(["systemctl", "stop", GUARD])
    guest.must(["modprobe", COMPUTER])
    assert guest.must(["ls", "/sys/class/udc"]).strip(), "there is no cable"
    return guest


def shown(guest: Guest) -> set[str]:
    """Return what the computer at the other end sees plugged in."""
    rows = 'for one in /sys/bus/usb/devices/*/idVendor; do echo "$(cat $one):$(cat ${one%Vendor}Product)"; done'
    return {row for row in guest.must(["sh", "-c", rows]).split() if not row.startswith("1d6b:")}  # its own hub


def plays(guest: Guest, module: str) -> bool:
    """Try to be something by a module, and say whether it was let."""
    done = guest.run(["modprobe", module])
    if done.returncode == 0 and module == "gadgetfs":
        guest.must(["systemd-run", "--quiet", "--collect", "--unit=player", "python3", "-Sc", PLAY])
    return done.returncode == 0


def ends(guest: Guest, module: str) -> None:
    """Be nothing any more."""
    guest.run(["systemctl", "stop", "player"])
    guest.run(["umount", "/dev/gadget"])
    guest.must(["modprobe", "--remove", module])
    rest = [row.split(" ")[0] for row in guest.read("/proc/modules").splitlines()]
    for name in (*[one for one in rest if one.startswith("usb_f_")], "u_ether", "u_serial", "libcomposite"):
        guest.run(["modprobe", "--remove", name])  # what the kernel asked for by itself
    guest.machine.until(lambda: shown(guest) == set(), "the computer to see nothing", pause=0.5)


def test_shut_nothing_is_seen(cable: Guest) -> None:
    """As our first start leaves it, the device cannot be anything at the other end, and we say that it is nothing."""
    found = look(cable, NAME)
    assert (found["live"], found["kept"]) == ([], [])
    assert [plays(cable, module) for module in WAYS] == [False] * len(WAYS)
    assert shown(cable) == set()


@pytest.mark.parametrize("module", WAYS)
def test_what_is_let_is_what_is_seen(cable: Guest, module: str) -> None:
    """Each way that is let alone: the computer sees what it is, and we name what makes it."""
    needs = [module] if module == "gadgetfs" else [module, "libcomposite"]
    assert enforce(cable, NAME, needs) == ""
    try:
        assert look(cable, NAME)["kept"] == needs
        assert plays(cable, module)
        cable.machine.until(lambda: shown(cable) == {WAYS[module]}, f"{module} to be seen", pause=0.5)
        assert look(cable, NAME)["live"] == needs
        tell(f"let to load {module}, the device is {WAYS[module]} to the computer at the other end; shut, nothing")
        ends(cable, module)
    finally:
        assert enforce(cable, NAME, []) == ""
    assert not plays(cable, module) and look(cable, NAME)["live"] == []


def test_twin_a_list_that_lacks_one_lets_it_in(cable: Guest) -> None:
    """Known bad: our file without its line for one module; we say so, and the computer sees it."""
    cable.must(["sed", "-i", "/gadgetfs/d", OURS])
    try:
        assert look(cable, NAME)["kept"] == ["gadgetfs"]
        assert not plays(cable, "g_ether") and plays(cable, "gadgetfs")
        cable.machine.until(lambda: shown(cable) == {PLAYED}, "it to be seen", pause=0.5)
        ends(cable, "gadgetfs")
    finally:
        assert enforce(cable, NAME, []) == ""
