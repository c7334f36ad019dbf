"""Bluetooth over a real D-Bus: what busctl is told there, is told, and is read back as we read it.

There is no radio here, and without one bluetoothd does not stay; dbusmock's BlueZ has its objects, names and types. But
before it goes, bluetoothd says what it made of its main.conf.
"""

import pytest

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that have BlueZ

NAME = "radio.bluetooth_visible"
NOTE = "/var/lib/bluetooth/00:01:02:03:04:05/settings"
BUS = "dbus-uuidgen --ensure; mkdir -p /run/dbus; dbus-daemon --system --fork"
ALLOW = '<busconfig><policy user="root"><allow own="*"/><allow send_destination="*"/></policy></busconfig>'
ADD = ["busctl", "call", "org.bluez", "/", "org.bluez.Mock", "AddAdapter", "ss", "hci0", "kitchen"]

DAEMON = ["timeout", "20", "/usr/libexec/bluetooth/bluetoothd", "-n", "-d"]
MAIN = {
    "AlwaysPairable=true": "pairable",
    "AlwaysPairable = true ": "pairable",
    " AlwaysPairable=1": "pairable",
    "AlwaysPairable=false\nAlwaysPairable=true": "pairable",
    "[Policy]\nAutoEnable=false\n[General]\nAlwaysPairable=true": "pairable",
    "AlwaysPairable=true\nAlwaysPairable=false": "hidden",
    "AlwaysPairable=TRUE": "hidden",
    "AlwaysPairable=yes": "hidden",
    'AlwaysPairable="true"': "hidden",
    "AlwaysPairable=true # mine": "hidden",
    "alwayspairable=true": "hidden",
    "#AlwaysPairable=true": "hidden",
    "[general]\nAlwaysPairable=true": "hidden",
    "a line of words\nAlwaysPairable=true": "hidden",
}


@pytest.fixture
def radio(device: Device) -> Device:
    """Give a device with one adapter on the system's bus."""
    device.write("/etc/dbus-1/system.d/mock.conf", ALLOW)
    device.must(["sh", "-c", BUS])
    device.spawn(["python3", "-m", "dbusmock", "--system", "--template", "bluez5"])
    there = "busctl --auto-start=no introspect org.bluez / >/dev/null 2>&1"
    device.must(["timeout", "20", "sh", "-c", f"until {there}; do :; done"])
    device.must(ADD)
    return device


def states(device: Device, name: str) -> str:
    """Ask the bus for one property, beside us."""
    return device.must(["busctl", "get-property", "org.bluez", "/org/bluez/hci0", "org.bluez.Adapter1", name]).strip()


def test_it_is_hidden_on_the_bus(radio: Device) -> None:
    """Each way of being seen is read as what it is, and after the steps the adapter is hidden."""
    for value, seen in (("lasting", "true"), ("visible", "true"), ("pairable", "false")):
        assert enforce(radio, NAME, value) == ""
        assert look(radio, NAME)["live"] == value
        assert (states(radio, "Discoverable"), states(radio, "Pairable")) == (f"b {seen}", "b true")
    assert enforce(radio, NAME, "lasting") == ""
    assert enforce(radio, NAME, "hidden") == ""
    assert look(radio, NAME)["live"] == "hidden"
    assert (states(radio, "Discoverable"), states(radio, "Pairable")) == ("b false", "b false")


def test_without_the_daemon_its_notes_are_changed(device: Device) -> None:
    """Nobody on the bus, or no bus: nothing is shown now; what it would take up is found, and taken away."""
    device.write(NOTE, "[General]\nAlias=kitchen\nDiscoverable=true\nDiscoverableTimeout=0\n", 0o600)
    assert (look(device, NAME)["live"], look(device, NAME)["kept"]) == ("hidden", "lasting")
    device.must(["sh", "-c", BUS])
    assert (look(device, NAME)["live"], look(device, NAME)["kept"]) == ("hidden", "lasting")
    assert enforce(device, NAME, "hidden") == ""
    assert (look(device, NAME)["live"], look(device, NAME)["kept"]) == ("hidden", "hidden")
    assert "Alias=kitchen" in device.read(NOTE)
    assert device.must(["stat", "-c", "%a", NOTE]).strip() == "600"
    assert device.run(["pgrep", "-x", "bluetoothd"]).returncode != 0


def test_the_shipped_configuration_is_understood(device: Device) -> None:
    """Debian's own main.conf says nothing that loosens, and our line goes where BlueZ reads it."""
    assert look(device, NAME)["kept"] == "hidden"
    assert enforce(device, NAME, "pairable") == ""
    lines = device.read("/etc/bluetooth/main.conf").splitlines()
    assert "[General]" in lines[: lines.index("AlwaysPairable=true")]
    assert look(device, NAME)["kept"] == "pairable"


def test_main_conf_means_what_bluetoothd_makes_of_it(device: Device) -> None:
    """Every way of writing it is judged as the real daemon reads it; after our steps it reads what we wrote."""
    device.must(["sh", "-c", BUS])
    for said, kept in MAIN.items():
        device.write("/etc/bluetooth/main.conf", f"[General]\n{said}\n")
        heard = device.run(DAEMON).stderr.decode()
        assert "main.conf" in heard, heard
        assert ("pairable=true" in heard) == (kept == "pairable"), (said, heard)
        assert look(device, NAME)["kept"] == kept, said
    for said in ("AlwaysPairable=true", "AlwaysPairable=TRUE"):
        for value, word in (("hidden", "pairable=true"), ("pairable", "pairable=true")):
            device.write("/etc/bluetooth/main.conf", f"[General]\n{said}\n")
            assert enforce(device, NAME, value) == ""
            assert (word in device.run(DAEMON).stderr.decode()) == (value == "pairable"), (said, value)
            assert look(device, NAME)["kept"] == value
