"""Bluetooth that nobody answers for: ended as it should be it is off, killed it may go on."""

from agent import registry
from agent.providers.linux import bluez
from tests.test_catalogue import made

SETTING = registry.settings()["radio.bluetooth_visible"]
SWITCH = "/sys/class/bluetooth/hci0/rfkill0/soft"


def test_a_daemon_that_was_killed_may_have_left_it_on() -> None:
    """Told to end, bluetoothd switches the adapter off: hidden. Killed it does not: unknown, unless the kernel did."""
    for act, live in (("stop", "hidden"), ("kill", None), ("block", "hidden")):
        device = made(SETTING)
        device.hand.produced(SWITCH, (b"1\n" if act == "block" else b"0\n").strip)
        (process,) = device.running("bluetoothd")
        if act == "stop":
            assert device.run(("systemctl", "stop", "bluetooth.service")).code == 0
        else:
            device.stop(process.pid)
        assert not device.running("bluetoothd")
        reading = bluez.probe(device, SETTING.params)
        assert reading.live == live, act
        assert ("hci0" in reading.cause) == (live is None)
