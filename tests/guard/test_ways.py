"""Ways in on a simulated Raspberry Pi: what is tried, what only the owner can use, what is shut."""

import pytest

from agent import registry
from agent.core.secret import Secret
from agent.core.trial import IDLE, KNOWN, SHUT, TRIED
from agent.system.parts import Tries
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.programs import ssh_keygen
from provisioning.simulate.pi import CHEAP, raspberry_pi

SSHD = "/etc/ssh/sshd_config.d/000-test.conf"


@pytest.fixture
def device():
    """A Raspberry Pi whose owner has put a key on it."""
    made = SimulatedSystem(image=raspberry_pi(CHEAP))
    give_key(made)
    return made


def give_key(device, options=b""):
    """List the owner's key for pi."""
    ssh_keygen.make(device, "/tmp/owner", "anna@laptop")
    device.edit("/home/pi/.ssh/authorized_keys", options + device.read("/tmp/owner.pub"), mode=0o600, uid=1000)


def configure(device, text):
    """Change the server's configuration, as anybody might, and load it."""
    device.edit(SSHD, text)
    device.reload("ssh.service", "/run/sshd.pid")


def look(device, name, flows=("tcp/22@lan",), staged=None, proven=None):
    """Return how one way stands."""
    tries = Tries(flows, staged or {}, set() if proven is None else proven)
    return registry.ways()[name].look(device, tries)


def test_every_way_that_a_setting_names_is_a_part():
    """A misspelt way would guard nothing."""
    known = set(registry.ways())
    named = {way for s in registry.settings().values() for way in (*s.closes, *s.touches, *s.gates)}
    assert named <= known
    assert named == known


def test_the_owners_key_is_tried_at_the_server(device):
    """Taken: tried. Not listed, switched off, or no neighbour let in by the firewall: shut. No server now: idle."""
    assert look(device, "ssh_key").state == TRIED
    assert look(device, "ssh_key", flows=None).state == TRIED
    assert look(device, "ssh_key", flows=("tcp/80@lan",)).state == SHUT
    configure(device, b"PubkeyAuthentication no\n")
    assert look(device, "ssh_key").state == SHUT
    configure(device, b"")
    for server in device.running("sshd"):
        device.stop(server.pid)
    assert look(device, "ssh_key").state == IDLE
    device.reboot()
    device.edit("/home/pi/.ssh/authorized_keys", b"# none\n")
    assert look(device, "ssh_key").state == SHUT
    device.absent.add("sshd")
    assert look(device, "ssh_key").state == SHUT


def test_roots_key_counts_only_where_root_may_sign_in(device):
    """The server takes the offer of root's key all the same, as OpenSSH does, and refuses afterwards."""
    device.edit("/home/pi/.ssh/authorized_keys", b"")
    device.edit("/root/.ssh/authorized_keys", device.read("/tmp/owner.pub"), mode=0o600)
    assert look(device, "ssh_key").state == TRIED
    for word in (b"no", b"forced-commands-only"):
        configure(device, b"PermitRootLogin " + word + b"\n")
        said = device.run(("ssh", "-v", "-i", "/tmp/owner.pub", "-l", "root", "127.0.0.1")).err
        assert b"Server accepts key" in said
        assert look(device, "ssh_key").state == SHUT


def test_a_key_for_one_command_is_no_way_in(device):
    """And one for certain addresses cannot be tried from here."""
    give_key(device, b'command="/usr/bin/backup" ')
    assert look(device, "ssh_key").state == SHUT
    give_key(device, b'from="192.168.1.7" ')
    assert look(device, "ssh_key").state == KNOWN


def test_a_password_is_tried_while_it_waits_and_stays_proven_until_it_changes(device):
    """At PAM's door; afterwards the same account with the same password still counts, another one does not."""
    proven: set[bytes] = set()
    assert look(device, "console").state == KNOWN
    assert look(device, "console", staged={"pi": Secret(b"wrong")}, proven=proven).state == KNOWN
    assert look(device, "console", staged={"pi": Secret(b"raspberry")}, proven=proven).state == TRIED
    assert look(device, "console", proven=proven).state == TRIED
    device.run(("chpasswd",), b"pi:another secret\n")
    assert look(device, "console", proven=proven).state == KNOWN
    device.run(("chpasswd", "-e"), b"pi:!\n")
    assert look(device, "console", proven=proven).state == SHUT


def test_a_password_over_ssh_needs_the_servers_offer(device):
    """Proven at PAM's door and offered by the running server: tried. Not offered: shut."""
    configure(device, b"PasswordAuthentication yes\n")
    proven: set[bytes] = set()
    assert look(device, "ssh_password").state == KNOWN
    look(device, "console", staged={"pi": Secret(b"raspberry")}, proven=proven)
    assert look(device, "ssh_password", proven=proven).state == TRIED
    configure(device, b"PasswordAuthentication no\n")
    assert look(device, "ssh_password", proven=proven).state == SHUT


def test_rights_come_from_sudo_itself(device):
    """With a password that was tried, without being asked, not at all."""
    device.edit("/etc/sudoers.d/010_pi-nopasswd", b"pi ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    assert look(device, "sudo").state == TRIED
    device.edit("/etc/sudoers.d/010_pi-nopasswd", b"", mode=0o440)
    assert look(device, "sudo").state == KNOWN
    proven: set[bytes] = set()
    look(device, "console", staged={"pi": Secret(b"raspberry")}, proven=proven)
    assert look(device, "sudo", proven=proven).state == TRIED
    device.edit("/etc/group", device.read("/etc/group").replace(b"sudo:x:27:pi", b"sudo:x:27:"))
    assert look(device, "sudo", proven=proven).state == SHUT
