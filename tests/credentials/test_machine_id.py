"""Numbers that clones share: the image's are replaced, what this start made is left, and none comes back unseen."""

import pytest

from agent.core.credential import NEW, OLD, Memory
from agent.core.errors import Failed
from agent.credentials import machine_id
from agent.system.simulated import SimulatedSystem

SHIPPED = b"0123456789abcdef0123456789abcdef"
IMAGE = {
    "/etc/machine-id": SHIPPED + b"\n",
    "/var/lib/dbus/machine-id": SHIPPED + b"\n",
    "/var/lib/systemd/random-seed": bytes(range(256)) * 2,
    "/var/lib/dhcp/dhclient.eth0.leases": b'default-duid "\\000\\001factory";\n',
    "/var/lib/NetworkManager/secret_key": b"nm-v2:factory",
    "/var/lib/dhcpcd/duid": b"00:01:00:01:factory",
    f"/var/log/journal/{SHIPPED.decode()}/system.journal": b"what the image's maker did",
}


def device(files=IMAGE, more=()):
    """Make a device from an image."""

    def lay(system):
        for path, content in {**files, **dict(more)}.items():
            system.edit(path, content)

    return SimulatedSystem(image=lay, shipped=False)


def fresh():
    """Return the memory of a device that was never provisioned."""
    return Memory(set(), set(), True)


def rotated(system, memory):
    """Take all that is found through replace, prove, clean and remember."""
    found = machine_id.find(system, {}, memory)
    for one in found:
        machine_id.replace(system, {}, one, None)
        assert machine_id.standing(system, {}, one, None) == NEW
        machine_id.prove(system, {}, one, None)
        machine_id.clean(system, {}, one)
        machine_id.remember(system, {}, one, memory)
    return [one.label for one in found]


def test_the_images_numbers_go():
    """Everything a clone would share is made anew or removed, agrees, and stays so across a cut."""
    system, memory = device(), fresh()
    assert set(rotated(system, memory)) == set(list(IMAGE)[:-1])
    system.crash("all")
    number = system.read("/etc/machine-id")
    assert len(number) == 33 and number != SHIPPED + b"\n" and number[12:13] == b"4"
    assert system.read("/var/lib/dbus/machine-id") == number
    assert system.stat("/etc/machine-id").mode == 0o444
    seed = system.read("/var/lib/systemd/random-seed")
    assert len(seed) == 512 and seed != IMAGE["/var/lib/systemd/random-seed"]
    for folder in ("/var/lib/dhcp", "/var/lib/NetworkManager", "/var/lib/dhcpcd"):
        assert system.entries(folder) == ()
    assert system.entries(f"/var/log/journal/{SHIPPED.decode()}") == ()
    assert machine_id.find(system, {}, memory) == ()


def test_two_clones_differ():
    """Two devices from one image end with different numbers."""
    numbers = set()
    for _ in range(2):
        system = device()
        rotated(system, fresh())
        numbers |= {system.read("/etc/machine-id"), system.read("/var/lib/systemd/random-seed")}
    assert len(numbers) == 4


def test_a_number_of_this_start_stays():
    """Systemd says that it made the machine-id just now: it stays, unless it took it from D-Bus's file of the image."""
    flag = {"/run/systemd/first-boot": b""}
    system, memory = device({"/etc/machine-id": SHIPPED + b"\n"}), fresh()
    system.edit("/run/systemd/first-boot", b"")
    assert rotated(system, memory) == []
    system.hand.discard("/run/systemd/first-boot")
    assert rotated(system, memory) == []  # and it is remembered as this device's own
    system = device({"/etc/machine-id": SHIPPED + b"\n", "/var/lib/dbus/machine-id": SHIPPED + b"\n"}, flag)
    system.edit("/run/systemd/first-boot", b"")
    assert rotated(system, fresh()) == ["/etc/machine-id", "/var/lib/dbus/machine-id"]


def test_none_yet_and_a_link():
    """No machine-id, or one still to be made, is no number; the usual link of D-Bus is not taken for a copy."""
    for content in (b"", b"uninitialized\n"):
        assert rotated(device({"/etc/machine-id": content}), fresh()) == []

    def lay(system):
        system.edit("/etc/machine-id", SHIPPED + b"\n")
        system.hand.link("/var/lib/dbus/machine-id", "/etc/machine-id")

    assert rotated(SimulatedSystem(image=lay, shipped=False), fresh()) == ["/etc/machine-id"]


def test_a_device_in_use_keeps_its_numbers():
    """After first boot nothing is touched; only the image's number, when it is back, is found."""
    memory = Memory(set(), set(), False)
    system = device()
    assert rotated(system, memory) == []
    memory = fresh()
    rotated(system, memory)
    later = Memory(memory.cleared, memory.retired, False)
    assert machine_id.find(system, {}, later) == ()
    system.edit("/etc/machine-id", SHIPPED + b"\n")
    found = machine_id.find(system, {}, later)
    assert [one.label for one in found] == ["/etc/machine-id"] and found[0].reason == machine_id.BACK
    assert machine_id.standing(system, {}, found[0], None) == OLD


@pytest.mark.parametrize("broken", [b"", b"0" * 32 + b"\n", b"not a number\n", SHIPPED + b"\n"])
def test_what_is_no_number_is_not_believed(broken):
    """A machine-id that is missing, void, damaged or the old one does not pass."""
    system = device()
    one = machine_id.find(system, {}, fresh())[0]
    machine_id.replace(system, {}, one, None)
    system.edit("/etc/machine-id", broken)
    with pytest.raises(Failed):
        machine_id.prove(system, {}, one, None)
