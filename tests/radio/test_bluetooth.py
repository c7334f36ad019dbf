"""Bluetooth: our word beside bluetoothd on a controller that the kernel has, and a neighbour that looks for it."""

import pytest

from tests.radio.asked import enforce, look
from tests.vm.guest import Guest

NAME = "radio.bluetooth_visible"
MINE, NEIGHBOUR = "hci0", "hci1"
STRICT = "/etc/systemd/system/bluetooth.service.d/zz-privet.conf"


@pytest.fixture(scope="module")
def radio(guest: Guest) -> Guest:
    """Give a machine with a controller of its own and one nearby, and bluetoothd, which the owner wants to run."""
    guest.must(["systemctl", "stop", "privet-guard.service"])
    guest.must(["modprobe", "hci_vhci"])
    guest.must(["systemd-run", "--quiet", "--collect", "--unit=controllers", "btvirt", "-l2", "-B"])
    for name in (MINE, NEIGHBOUR):
        guest.await_path(f"/sys/class/bluetooth/{name}")
    guest.must(["rm", "-f", STRICT])
    guest.must(["systemctl", "daemon-reload"])
    return guest


def begin(guest: Guest) -> None:
    """Start bluetoothd anew, and wait until both controllers are on."""
    guest.must(["systemctl", "restart", "bluetooth.service"])
    for name in (MINE, NEIGHBOUR):
        guest.machine.until(lambda name=name: said(guest, name, "Powered") == "true", f"{name} to be on")  # type: ignore[misc]


def said(guest: Guest, adapter: str, name: str) -> str:
    """Ask bluetoothd for one property of an adapter, beside us."""
    words = ["busctl", "get-property", "org.bluez", f"/org/bluez/{adapter}", "org.bluez.Adapter1", name]
    return guest.run(words).stdout.decode().partition(" ")[2].strip().strip('"')


def found(guest: Guest) -> bool:
    """Say whether the neighbour, looking for whoever shows itself, finds the device."""
    seen = guest.must(["hcitool", "-i", NEIGHBOUR, "inq", "--flush"])
    return "clock offset" in seen


def pairs(guest: Guest) -> bool:
    """Say whether the kernel would let somebody pair who knows its number."""
    current = guest.must(["btmgmt", "--index", "0", "info"])
    line = next(line for line in current.splitlines() if "current settings" in line)
    return "bondable" in line.split()


def test_what_we_say_is_what_a_neighbour_finds(radio: Guest) -> None:
    """Each way of showing itself: bluetoothd's word, the neighbour's and ours are the same; hidden, nobody finds it."""
    begin(radio)
    for value in ("lasting", "visible", "pairable", "hidden"):
        assert enforce(radio, NAME, value) == ""
        assert look(radio, NAME)["live"] == value
        assert said(radio, MINE, "Discoverable") == ("true" if value in {"lasting", "visible"} else "false")
        assert said(radio, MINE, "Pairable") == ("false" if value == "hidden" else "true")
        assert found(radio) == (value in {"lasting", "visible"}), value
        assert pairs(radio) == (value != "hidden"), value


def test_what_is_kept_is_what_it_takes_up(radio: Guest) -> None:
    """Started anew, bluetoothd shows itself as we said that it would: for good, or not at all."""
    for value, kept in (("lasting", "lasting"), ("visible", "pairable"), ("hidden", "hidden")):
        begin(radio)
        assert enforce(radio, NAME, value) == ""
        assert look(radio, NAME)["kept"] == kept, value
        begin(radio)
        assert look(radio, NAME)["live"] == kept, value
        assert found(radio) == (kept == "lasting"), value


def test_who_is_told_to_end_shows_nothing_and_who_is_killed_does(radio: Guest) -> None:
    """Stopped, the controller is off and nobody finds it. Killed, it is found as before, and we do not say hidden."""
    begin(radio)
    assert enforce(radio, NAME, "visible") == ""
    radio.must(["systemctl", "stop", "bluetooth.service"])
    radio.must(["hciconfig", NEIGHBOUR, "up"])
    assert not found(radio) and look(radio, NAME)["live"] == "hidden"

    begin(radio)
    assert enforce(radio, NAME, "visible") == ""
    radio.must(["systemctl", "kill", "--signal=KILL", "bluetooth.service"])
    radio.machine.until(lambda: radio.run(["pgrep", "-x", "bluetoothd"]).returncode == 1, "bluetoothd to be gone")
    assert found(radio)
    said_now = look(radio, NAME)
    assert said_now["live"] is None and MINE in said_now["cause"], said_now
    radio.must(["rfkill", "block", "bluetooth"])
    assert look(radio, NAME)["live"] == "hidden"
    radio.must(["rfkill", "unblock", "bluetooth"])


def test_blocked_it_is_off_and_not_in_the_inventory(radio: Guest) -> None:
    """A controller is in the inventory as long as it can send; blocked by the kernel, nobody finds it."""
    begin(radio)
    assert enforce(radio, NAME, "visible") == "" and found(radio)
    assert {f"radio:{MINE}", f"radio:{NEIGHBOUR}"} <= set(look(radio, "inventory.sensors")["live"])
    switch = radio.must(["sh", "-c", f"ls /sys/class/bluetooth/{MINE} | grep rfkill"]).strip().removeprefix("rfkill")
    radio.must(["rfkill", "block", switch])
    radio.machine.until(lambda: not found(radio), "the controller to be off")
    assert f"radio:{MINE}" not in look(radio, "inventory.sensors")["live"]
    radio.must(["rfkill", "unblock", switch])
