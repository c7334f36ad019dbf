"""What the names of a real system give away."""

from tests.device.enforced import look
from tests.device.lab import Device

NAME = "name.leaks"


def test_the_host_name_now_and_later(device: Device) -> None:
    """What the kernel goes by and what the file says are two places; both are judged, people by their accounts."""
    device.must(["useradd", "-m", "-c", "Anna Muster,,,", "am"])
    device.must(["hostname", "quiet-otter"])
    device.write("/etc/hostname", "quiet-otter\n")
    assert look(device, NAME) == {"live": [], "kept": [], "cause": "", "absent": False}
    device.must(["hostname", "raspberrypi"])
    assert look(device, NAME)["live"] == ["host:default", "host:model"]
    assert look(device, NAME)["kept"] == []
    device.write("/etc/hostname", "Muster-TV\n")
    assert look(device, NAME)["kept"] == ["host:person"]


def test_the_hardware_address_and_the_networks_it_offers(device: Device) -> None:
    """The end of a real hardware address in the name, a person in an access point, BlueZ and its pretty name."""
    device.must(["useradd", "-m", "-c", "Anna Muster,,,", "am"])
    device.must(["ip", "link", "add", "lan0", "address", "02:00:00:00:be:ef", "type", "veth", "peer", "name", "lan1"])
    device.must(["hostname", "box-BEEF"])
    device.write("/etc/hostname", "box-beef\n")
    device.write("/etc/NetworkManager/system-connections/x.nmconnection", "[wifi]\nmode=ap\nssid=Muster guests\n")
    device.write("/etc/machine-info", 'PRETTY_HOSTNAME="Raspberry Pi of Anna"\n')
    expected = ["bluetooth:model", "bluetooth:person", "host:serial", "wifi:person"]
    assert look(device, NAME)["live"] == look(device, NAME)["kept"] == expected
