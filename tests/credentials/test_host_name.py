"""Host names: the image's and those that tell too much are replaced by a neutral one, the owner's own stays."""

import re

import pytest

from agent.core.credential import NEW, OLD, OTHER, Memory
from agent.core.errors import BadInput, Failed
from agent.credentials import host_name
from agent.system.simulated import SimulatedSystem

HOSTS = (
    b"127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost\n127.0.1.1\traspberrypi # set by the image\n10.0.0.9 nas\n"
)
PROC = {
    "/proc/device-tree/serial-number": b"10000000abcd1234\0",
    "/proc/device-tree/model": b"Raspberry Pi Zero 2 W Rev 1.0\0",
    "/proc/cpuinfo": b"processor\t: 0\nSerial\t\t: 10000000abcd1234\n",
    "/sys/class/net/wlan0/address": b"dc:a6:32:01:fe:ed\n",
    "/sys/class/net/lo/address": b"00:00:00:00:00:00\n",
}


def device(name=b"raspberrypi\n", hosts=HOSTS):
    """Make a device with a name."""

    def lay(system):
        system.edit("/etc/hostname", name)
        system.edit("/etc/hosts", hosts)

    system = SimulatedSystem(image=lay, shipped=False)
    for path, content in PROC.items():
        system.edit(path, content)
    held = [name]
    system.hand.produced("/proc/sys/kernel/hostname", lambda: held[-1], held.append, 0o644)
    return system


def found(system, params=None, first=True):
    """Return what is found, or None."""
    listed = host_name.find(system, params or {}, Memory(set(), set(), first))
    return listed[0] if listed else None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raspberrypi", host_name.IMAGE), ("RaspberryPi-2", host_name.IMAGE), ("debian", host_name.IMAGE),
        ("localhost.localdomain", ""), ("sensor-abcd1234", host_name.SERIAL), ("cam-01feed", host_name.ADDRESS),
        ("hall-dca63201feed", host_name.ADDRESS), ("my-raspberry-at-home", host_name.MODEL),
        ("kitchen", ""), ("attic-2", ""), ("device-bcdfgh", ""), ("rockery", ""),
    ],
)  # fmt: skip
def test_which_names_go(name, reason):
    """Names of images, serial numbers, addresses and models go; a name that a person chose stays."""
    one = found(device(name.encode() + b"\n"))
    assert (one.reason if one else "") == reason
    assert found(device(name.encode() + b"\n"), first=False) is None


def test_the_new_name_is_in_force_everywhere():
    """Both files and the running system have one neutral name, the other hosts stay, and so it is after a cut."""
    system = device()
    one = found(system)
    assert host_name.standing(system, {}, one, None) == OLD and not one.owner
    host_name.replace(system, {}, one, None)
    host_name.prove(system, {}, one, None)
    name = system.read("/etc/hostname").decode().strip()
    assert re.fullmatch("device-[a-z]{6}", name) and host_name.standing(system, {}, one, None) == NEW
    assert system.read("/proc/sys/kernel/hostname").decode().strip() == name
    system.crash("all")
    assert system.read("/etc/hostname").decode().strip() == name
    listed = system.read("/etc/hosts").decode()
    assert f"127.0.1.1\t{name} # set by the image\n" in listed and "raspberrypi" not in listed
    assert "10.0.0.9 nas\n" in listed and "::1\t\tlocalhost ip6-localhost\n" in listed


def test_again_after_a_cut_leaves_one_name():
    """Cut between the two files: the next start gives another name and leaves no trace of the first."""
    system = device()
    one = found(system)
    for _ in range(3):
        host_name.replace(system, {}, one, None)
        first = system.read("/etc/hostname")
        system.edit("/etc/hostname", b"raspberrypi\n")
    host_name.replace(system, {}, one, None)
    assert first.strip() not in system.read("/etc/hosts")
    assert system.read("/etc/hosts").count(b"device-") == 1


def test_a_system_that_does_not_let_us_set_it_live():
    """No such kernel file: the name holds from the next start on, and nothing stops for it."""
    system = device()
    system.hand.discard("/proc/sys/kernel/hostname")
    one = found(system)
    host_name.replace(system, {}, one, None)
    host_name.prove(system, {}, one, None)


def test_a_list_without_the_device():
    """The list of hosts lacks the device, or is missing: it is in it afterwards."""
    for hosts in (b"127.0.0.1 localhost\n", b""):
        system = device(hosts=hosts)
        one = found(system)
        host_name.replace(system, {}, one, None)
        host_name.prove(system, {}, one, None)
        assert b"127.0.1.1\tdevice-" in system.read("/etc/hosts")


def test_the_owner_was_quicker():
    """Another name in the meantime is the owner's; the old one in the list of hosts does not pass."""
    system = device()
    one = found(system)
    system.edit("/etc/hostname", b"kitchen\n")
    assert host_name.standing(system, {}, one, None) == OTHER
    with pytest.raises(Failed, match="does not know the device's new name"):
        host_name.prove(system, {}, one, None)


def test_a_profile_names_more():
    """A maker's own names, whole or by their beginning, and another prefix; nonsense is refused."""
    for name in ("acme", "acme-hub-0042"):
        one = found(device(name.encode()), {"factory": ("acme", "acme-hub*")})
        assert one is not None and one.reason == host_name.IMAGE
    system = device()
    host_name.replace(system, {"prefix": "acme"}, found(system), None)
    assert system.read("/etc/hostname").startswith(b"acme-")
    for params in ({"factory": "acme"}, {"factory": ("*",)}):
        with pytest.raises(BadInput):
            found(device(), params)
    with pytest.raises(BadInput):
        host_name.replace(device(), {"prefix": "No Name"}, found(device()), None)


def test_the_factorys_name_is_back():
    """After first boot the old name is known and told when it returns."""
    system, memory = device(), Memory(set(), set(), True)
    one = host_name.find(system, {}, memory)[0]
    host_name.replace(system, {}, one, None)
    host_name.remember(system, {}, one, memory)
    later = Memory(memory.cleared, memory.retired, False)
    assert host_name.find(system, {}, later) == ()
    system.edit("/etc/hostname", b"raspberrypi\n")
    assert host_name.find(system, {}, later)[0].reason == host_name.BACK
