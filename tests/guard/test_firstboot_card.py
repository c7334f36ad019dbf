"""First boot over what a card brings beside passwords: machine-id, host name, boot partition; ended at every call."""

from typing import Any

import pytest

from agent.core.errors import Failed
from agent.credentials import boot_files, host_name, machine_id
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import mount
from agent.system.simulated.volume import attach
from tests.credentials.images import hashed
from tests.guard.boots import DONE, boot, marked, stream, swept
from tests.guard.disk_store import DiskStore, FileGate

PLACE, RAW = "/boot/firmware", "/dev/mmcblk0p1"
SHIPPED = b"0123456789abcdef0123456789abcdef\n"
HASH = hashed("the owner's own", "sha256").encode()
CLOUD = b"#cloud-config\npasswd: " + HASH + b"\n"
KINDS: Any = (("machine_id", machine_id, {}), ("host_name", host_name, {}), ("boot_files", boot_files, {}))
UNIT = "/usr/lib/systemd/system/userconfig.service"


def card(waiting=False, system=SimulatedSystem):
    """Make a device as its card writer leaves it; `waiting`: userconf.txt is still to be taken up."""

    def lay(device):
        device.programs["mount"] = mount
        attach(device, PLACE, clusters=8)
        device.edit(f"{PLACE}/cmdline.txt", b"console=tty1 rootwait\n", in_place=True)
        device.edit(f"{PLACE}/userconf.txt", b"pi:" + HASH + b"\n", in_place=True)
        device.edit(f"{PLACE}/userconf.txt", b"pi:" + HASH + b"\n# again\n")  # an editor left a copy
        device.edit("/etc/machine-id", SHIPPED, mode=0o444)
        device.edit("/etc/hostname", b"raspberrypi\n")
        device.edit("/etc/hosts", b"127.0.1.1 raspberrypi\n")
        device.edit("/var/lib/systemd/random-seed", b"s" * 512, mode=0o600)
        if waiting:
            device.edit(UNIT, b"[Service]\n")

    return system(image=lay, entropy=stream(), shipped=False)


def work(system):
    """Run one start's first boot."""
    return boot(system, KINDS)


def secret_left(system):
    """Say whether the raw boot partition holds the hash."""
    return system.search(RAW, (HASH,)) == (HASH,)


def later(system):
    """Say whether the units are told that a later start is to look again."""
    return "later" in system.entries("/var/lib/privet")


def finished(system):
    """Assert the end: nothing of the image is left, on the raw partition neither, and the store has let go of it."""
    assert FileGate(system).is_open() and marked(system)
    assert not secret_left(system)
    assert system.entries(PLACE) == ("cmdline.txt",)
    assert system.read("/etc/machine-id") != SHIPPED and system.read("/etc/hostname").startswith(b"device-")
    assert system.read("/etc/hosts").count(b"device-") == 1
    system.sweep(["/var/lib/privet"])  # the test's store is not sealed; what a cut left of it is swept as at any start
    for path, node in system.disk.walk():
        assert HASH not in bytes(node.content) and HASH not in node.kept_content, path


def test_ended_at_every_call():
    """A power cut or a kill at any call: never open over what the card brought, and the next start ends it well."""

    def check(system):
        if secret_left(system) or system.read("/etc/machine-id") == SHIPPED:
            assert not FileGate(system).is_open() and not marked(system)
        assert work(system) == DONE
        system.crash("all")
        finished(system)
        assert work(system) == DONE

    total, fired, states = swept(card, work, check)
    assert fired == total > 300
    assert states > 50


class Removing(SimulatedSystem):
    """The known-bad twin: a door that removes where it should shred."""

    def shred(self, path):
        """Remove only."""
        self.remove(path)

    def append(self, path, content, mode=0o600, uid=0, gid=0):
        """Write over no free cluster."""


def test_without_shredding_it_would_not_pass():
    """The twin: the file is gone for every program, but the raw disk has it; the gate stays shut and it is said."""
    system = card(system=Removing)
    with pytest.raises(Failed, match="a secret of the card's setup is still in"):
        work(system)
    assert system.entries(PLACE) == ("cmdline.txt",) and secret_left(system)
    assert not FileGate(system).is_open() and not marked(system)


def test_what_had_to_wait_is_done_later():
    """userconf.txt is the owner's way in and waits; a later start, after it was taken up, finds what is left of it."""
    system = card(waiting=True)
    assert work(system) == DONE
    assert "userconf.txt" in system.entries(PLACE)
    assert work(system) == DONE
    assert "userconf.txt" in system.entries(PLACE) and later(system)
    system.hand.discard(UNIT)
    system.disk.settle()
    k = 0
    while True:  # this start, too, may end anywhere
        k += 1
        if not system.kill_at(k * 7, work, "all"):
            break
    finished(system)
    assert not later(system)
    assert not DiskStore(system).get("rotation/boot_files//boot/firmware")["old"]
