"""What a device announces, heard by a neighbour: the real avahi-daemon with what we make of its file."""

import pytest

from tests.device.enforced import enforce, look
from tests.device.lab import Device

CONFIG = "/etc/avahi/avahi-daemon.conf"
WINDOW = "8"  # seconds that the neighbour listens: probing and three announcements, RFC 6762 section 8
# avahi takes odd capitals, and any word that begins like a yes.
OPEN = "[server]\nenable-dbus=no\n[PUBLISH]\nPublish-Workstation=y\npublish-HINFO=True\n[wide-area]\n"


def heard(device: Device) -> str:
    """Start avahi-daemon on a wire, and return what a neighbour hears of it in its first announcements."""
    device.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"])
    device.must(["ip", "address", "add", "10.7.0.1/24", "dev", "lan0"])
    for name in ("lan0", "lan1"):
        device.must(["ip", "link", "set", name, "up"])
    device.must(["mkdir", "-p", "/run/avahi-daemon"])
    ear = device.spawn(["timeout", WINDOW, "tcpdump", "-l", "-n", "-vv", "-i", "lan1", "udp", "port", "5353"])
    assert ear.stderr is not None
    while b"listening" not in ear.stderr.readline():
        continue
    options = ["--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title"]
    daemon = device.spawn(["/usr/sbin/avahi-daemon", *options])
    device.must(["sh", "-c", "for i in $(seq 100); do test -s /run/avahi-daemon/pid && break; sleep 0.1; done"])
    said, _ = ear.communicate(timeout=60)
    assert daemon.poll() is None
    return said.decode(errors="replace")


def test_an_open_daemon_tells_and_is_found_to(served: Device) -> None:
    """Its hardware number and its processor are on the wire; the reading names both, now and later (the twin)."""
    served.write(CONFIG, OPEN)
    said = heard(served)
    assert "_workstation._tcp" in said
    found = look(served, "mdns.publish")
    assert {"workstation", "hinfo", "addresses", "wide-area"} <= set(found["live"])
    assert found["live"] == found["kept"]
    served.append(CONFIG, "\n")
    assert look(served, "mdns.publish")["live"] is None


@pytest.mark.parametrize("value", [[], ["addresses"]])
def test_enforced_it_tells_no_more_than_allowed(served: Device, value: list[str]) -> None:
    """Nothing at all, or the addresses alone; what else stands in the file is as it was."""
    served.write(CONFIG, OPEN)
    assert enforce(served, "mdns.publish", value) == ""
    assert look(served, "mdns.publish")["kept"] == value
    assert "enable-dbus=no" in served.read(CONFIG)
    said = heard(served)
    assert "_workstation._tcp" not in said
    assert ("(Cache flush) A 10.7.0.1" in said) == bool(value)
    assert look(served, "mdns.publish")["live"] == value
