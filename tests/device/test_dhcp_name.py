"""What a neighbour hears when the device asks for an address: its name, and after the steps no name."""

import pytest

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that join networks

NAME = "annas-kitchen-box"
PROFILE = "/etc/NetworkManager/system-connections/Wired.nmconnection"
NUMBER = "6f1a0a9c-6c1b-4a47-9f53-6a6f4e1a5b11"
WIRED = f"[connection]\nid=Wired\nuuid={NUMBER}\ntype=ethernet\ninterface-name=lan0\nautoconnect=false\n"


@pytest.fixture
def wired(device: Device) -> Device:
    """Give a device with a name and a cable, at whose other end somebody listens."""
    device.must(["hostname", NAME])
    device.write("/etc/hostname", f"{NAME}\n")
    device.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"])
    device.must(["sh", "-c", "ip link set lan0 up; ip link set lan1 up"])
    device.must(["sh", "-c", "rm -f /etc/dhcpcd.conf /etc/dhcp/dhclient.conf"])
    return device


def heard(device: Device, *client: str) -> str:
    """Let a client ask, and return the first question that the neighbour hears."""
    ear = device.spawn(["timeout", "40", "tcpdump", "-c", "1", "-n", "-vv", "-i", "lan1", "udp", "dst", "port", "67"])
    assert ear.stderr is not None
    assert any(b"listening" in line for line in ear.stderr)
    asks = device.spawn(list(client))
    text = ear.communicate(timeout=60)[0].decode()
    asks.kill()
    assert "Request from" in text, text
    return text


@pytest.mark.parametrize(
    ("program", "path", "text", "client"),
    [
        ("dhclient", "/etc/dhcp/dhclient.conf", "send host-name = gethostname();\n", ["dhclient", "-d", "lan0"]),
        ("dhcpcd", "/etc/dhcpcd.conf", "duid\nhostname\nipv4only\n", ["dhcpcd", "-B", "lan0"]),
    ],
)
def test_its_name_is_not_told(wired: Device, program: str, path: str, text: str, client: list[str]) -> None:
    """The real client tells it where we say so, and not after the steps; what else its file says stays."""
    wired.write(path, text)
    assert look(wired, "net.dhcp_name")["kept"] == [program]
    assert NAME in heard(wired, *client)
    wired.must(["sh", "-c", f"pkill -x {program}; while pgrep -x {program}; do :; done; rm -f /run/dhclient*.pid"])
    assert enforce(wired, "net.dhcp_name", []) == ""
    assert look(wired, "net.dhcp_name")["kept"] == []
    assert NAME not in heard(wired, *client)
    assert all(line in wired.read(path) for line in text.splitlines())


def test_connections_of_networkmanager_tell_no_longer(wired: Device) -> None:
    """The real one takes the words we give it, writes them down, keeps the rest, and its next question has no name."""
    wired.must(["sh", "-c", "dbus-uuidgen --ensure; mkdir -p /run/dbus; dbus-daemon --system --fork"])
    wired.write(PROFILE, WIRED + "[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n", 0o600)
    wired.write("/etc/NetworkManager/conf.d/a.conf", "[main]\nno-auto-default=*\n")
    wired.must(["NetworkManager"])
    wired.must(["timeout", "20", "sh", "-c", "until nmcli -g RUNNING general | grep -q running; do :; done"])
    wired.must(["nmcli", "device", "set", "lan0", "managed", "yes"])
    assert look(wired, "net.dhcp_name")["kept"] == ["NetworkManager"]
    up = ["nmcli", "--wait", "30", "connection", "up", "uuid", NUMBER]
    assert NAME in heard(wired, *up)
    wired.run(["nmcli", "connection", "down", "uuid", NUMBER])
    assert enforce(wired, "net.dhcp_name", []) == ""
    assert look(wired, "net.dhcp_name")["kept"] == []
    assert NAME not in heard(wired, *up)
    assert "interface-name=lan0" in wired.read(PROFILE)
    assert enforce(wired, "net.dhcp_name", ["NetworkManager"]) == ""
    assert look(wired, "net.dhcp_name")["kept"] == ["NetworkManager"]
