"""Radios that the kernel blocks: our word beside the air and the access point, now and as it is noted."""

from collections.abc import Iterator

import pytest

from tests.radio.air import DEVICE, NAME, PASSWORD, SPACE, Air
from tests.radio.asked import look
from tests.vm.figures import tell
from tests.vm.guest import Guest

GUARD = "privet-guard.service"
OWN = "/sys/class/net/wlan0/phy80211"
BLOCK = f'network={{\n\tssid="{NAME}"\n\tscan_freq=2412\n\tpsk="{PASSWORD}"\n}}\n'


@pytest.fixture(scope="module")
def air(guest: Guest) -> Iterator[Air]:
    """Give a machine that is connected to an access point, its guard looking away, and an ear in the air."""
    guest.must(["systemctl", "stop", GUARD, "NetworkManager", "wpa_supplicant"])
    air = Air(guest, "wpa2-aes")
    guest.write("/run/client.conf", f"ctrl_interface=/run/client\n{BLOCK}", 0o600)
    air.starts("client", "wpa_supplicant", "-i", "wlan0", "-c", "/run/client.conf")
    air.starts("ear", "sh", "-c", "exec tcpdump -i hwsim0 -U -w /run/ear 2>/run/ear-said")
    guest.machine.until(lambda: "listening" in guest.read("/run/ear-said"), "the capture")
    yield air
    for unit in ("client", "ear", "air-*"):
        air.stops(unit)


def connected(air: Air) -> bool:
    """Say whether the access point has the machine as its client."""
    there = ["ip", "netns", "exec", SPACE, "iw", "dev", "wlan1", "station", "dump"]
    return DEVICE in air.guest.must(there)


def heard(air: Air) -> int:
    """Return how much the air has borne so far, in bytes."""
    return int(air.guest.must(["stat", "-c", "%s", "/run/ear"]))


def silent(air: Air) -> bool:
    """Say whether nothing is heard for ten times the pause between two signs of life of an access point."""
    before = heard(air)
    air.guest.must(["sleep", "3"])
    return heard(air) == before


def noted(air: Air, value: str) -> None:
    """Wait until what is kept is so: systemd notes it when all has been quiet for five seconds."""
    air.guest.machine.until(lambda: look(air.guest, "radio.wifi")["kept"] == value, f"{value} to be noted", pause=1)


def test_what_a_namespace_hides_is_unknown(air: Air) -> None:
    """Connected: on. Its own radio blocked while another one sends from a namespace: unknown, never off."""
    guest = air.guest
    guest.machine.until(lambda: connected(air), "the machine to be connected")
    assert look(guest, "radio.wifi")["live"] == "on" and not silent(air)
    (own,) = guest.must(["sh", "-c", f"cat {OWN}/rfkill*/index"]).split()
    guest.must(["rfkill", "block", own])
    guest.machine.until(lambda: not connected(air), "the machine to be gone")
    found = look(guest, "radio.wifi")
    assert found["live"] is None and "namespace" in found["cause"] and not silent(air)
    assert "radio:wlan0" not in look(guest, "inventory.sensors")["live"]
    guest.must(["rfkill", "unblock", own])
    assert look(guest, "radio.wifi")["live"] == "on"
    guest.machine.until(lambda: connected(air), "the machine to be connected again")


def test_off_is_what_the_air_is_silent_of(air: Air) -> None:
    """The other radio given back and all blocked: off, noted, and nothing is heard; let again, on."""
    guest = air.guest
    air.stops("air-*")
    guest.must(["ip", "netns", "del", SPACE])
    guest.machine.until(lambda: look(guest, "radio.wifi")["live"] == "on", "the radio to be back", pause=1)
    guest.must(["rfkill", "block", "wlan"])
    assert look(guest, "radio.wifi")["live"] == "off" and silent(air)
    noted(air, "off")
    guest.must(["rfkill", "unblock", "wlan"])
    assert look(guest, "radio.wifi")["live"] == "on"
    noted(air, "on")
    tell("blocked: the access point loses its client, the air is silent, our word is off; and back again")


@pytest.mark.parametrize("unit", ["systemd-rfkill.socket", "systemd-rfkill.service"])
def test_twin_what_nobody_takes_up_is_not_kept(air: Air, unit: str) -> None:
    """Known bad: blocked and noted, and nobody takes it up (test_restart.py: then it does come back)."""
    guest = air.guest
    guest.must(["rfkill", "block", "wlan"])
    noted(air, "off")
    guest.must(["systemctl", "--quiet", "mask", "--now", unit])
    try:
        found = look(guest, "radio.wifi")
        assert (found["live"], found["kept"]) == ("off", "on")
    finally:
        guest.must(["systemctl", "--quiet", "unmask", unit])
        guest.must(["systemctl", "start", "systemd-rfkill.socket"])
        guest.must(["rfkill", "unblock", "wlan"])
        noted(air, "on")
