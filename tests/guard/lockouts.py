"""A device whose owner has exactly one way in, changes of access on it, and whether the owner still gets in.

The doors are tried by simulated programs with what the owner has in hand; nothing here asks the code under test.
"""

from agent import registry
from agent.core.errors import PrivetError
from agent.core.plan import Change, Reload, Write
from agent.core.trial import WINDOW, access, reachable
from agent.credentials import linux_account
from agent.guard import trial as kept
from agent.guard.executor import apply
from agent.guard.firstboot import FirstBoot
from agent.guard.posture import Posture
from agent.guard.proving import Proving
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.faults import Faulty
from agent.system.simulated.programs import ssh, ssh_keygen
from provisioning.simulate.pi import CHEAP, PASSWORD, raspberry_pi
from tests.credentials.images import OWNER
from tests.guard.disk_store import DiskStore, FileGate

SETTINGS = registry.settings()
ACCESS = tuple(name for name, setting in SETTINGS.items() if access(setting))
ACCOUNT = "account"  # no setting: the owner's password is replaced
KEY = "/root/owner"  # the owner's own copy; the device has its public half
LOOSE = {name: SETTINGS[name].options[-1].value for name in ACCESS}
LOOSE |= {"ssh.forwarding": ("tcp",), "sudo.nopasswd": ("pi:ALL",), "firewall.inbound": ("tcp/22@lan", "tcp/80@lan")}
PRIVATE = {name: SETTINGS[name].strictest() for name in ACCESS} | {"firewall.inbound": ("tcp/22@lan",)}


def card(by):
    """Return what lays down a device that its owner enters by a `key` alone, or by a `password` over SSH alone."""

    def lay(system):
        raspberry_pi(CHEAP)(system)
        if by == "key":
            fields = system.read("/etc/shadow").decode().split("\n")
            system.edit("/etc/shadow", "\n".join("pi:*:1::::::" if f.startswith("pi:") else f for f in fields).encode())
            ssh_keygen.make(system, KEY, "anna@laptop")
            system.edit("/home/pi/.ssh/authorized_keys", system.read(KEY + ".pub"), mode=0o600, uid=1000)
        system.edit("/etc/sudoers.d/010_pi-nopasswd", b"pi ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)

    return lay


class Early:
    """The unit that runs before the network and everything that listens; programs start in the order of their names."""

    def __init__(self):
        self.said = []

    def boot(self, system):
        """Set back what an earlier start left on trial."""
        self.said += kept.revert_armed(system)


EARLY = "a0"


def factory(by):
    """Return how to make such devices, all loosened; the loose state is made once and is on the disk."""
    first = SimulatedSystem(image=card(by))
    posture = Posture(first, SETTINGS, PRIVATE)
    for name in ACCESS:
        apply(first, posture.steps(name, LOOSE[name]))
    laid = [(path, bytes(node.content), node.rights) for path, node in first.disk.walk(gone=False)
            if node.kind == "file" and not node.volatile]  # fmt: skip

    def made(system=SimulatedSystem, **given):
        """Make one."""

        def lay(device):
            for path, content, rights in laid:
                device.edit(path, content, mode=rights.mode, uid=rights.uid, gid=rights.gid)

        device = system(image=lay, **given)
        device.programs[EARLY] = Early()
        return device

    return made


def defect(name, system):
    """Return steps that a faulty part would add: they break the one way in while the configuration stays valid."""
    if name == "firewall.inbound":
        return registry.provider("nft").steps(SETTINGS[name].params, ())
    if name.startswith("sudo."):
        return (Write(path="/etc/sudoers.d/zzz-defect", content=b"pi ALL=(ALL) !ALL\n", mode=0o440, uid=0, gid=0),)
    lines = b"PubkeyAuthentication no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    content = lines + b"Match all\n" + lines
    path = "/etc/ssh/sshd_config.d/000-0-defect.conf"
    return (
        Write(path=path, content=content, mode=0o644, uid=0, gid=0),
        Reload(unit="ssh.service", pidfile="/run/sshd.pid"),
    )


def guard(system, proving=Proving):
    """Start the part of the guard that changes access."""
    made = proving(system, DiskStore(system), SETTINGS, patience=0)
    made.posture = Posture(system, SETTINGS, PRIVATE)
    made.take_up()
    return made


def rotate(system, store):
    """Replace the factory password of the owner's account, as the first boot does, or go on with that."""
    FirstBoot(system, store, FileGate(system), (("linux_account", linux_account, OWNER),)).run()


def change(system, proving, name, broken=False):
    """Make one setting private, on trial; a part that fails has said so."""
    if name == ACCOUNT:
        rotate(system, proving.store)
        return
    steps = (*proving.posture.steps(name, PRIVATE[name]), *(defect(name, system) if broken else ()))
    wanted = Change(setting=name, wanted=PRIVATE[name], found=LOOSE[name], held="")
    if proving.held(wanted):
        return
    proving.run(wanted, steps)


def pair(system, first, second, breaks=(), proving=Proving):
    """Make two settings private, one after the other; those in `breaks` break the way in."""
    made = guard(system, proving)
    for name in (first, second):
        try:
            change(system, made, name, name in breaks)
        except PrivetError:
            continue


def later(system, proving=Proving, account=False):
    """Let the guard start and the deadline pass; return what was told."""
    made = guard(system, proving)
    if account:
        rotate(system, made.store)
    system.tick(WINDOW + 1)
    made.tick()
    return [*system.programs[EARLY].said, *made.news]


def gets_in(system, by):
    """Say whether the owner gets in from the home network with what they have in hand."""
    if not reachable(registry.provider("nft").probe(system, {"direction": "inbound"}).live, "tcp/22"):
        return False
    if by == "password":
        known = (DiskStore(system).get("credential/linux_account/pi") or PASSWORD.encode()).decode()
        return ssh.login(system, "pi", known, address="192.168.1.77")
    return ssh.run(system, ("ssh", "-i", KEY, "-l", "pi", "192.168.1.7"), b"").code == 0


def has_rights(system):
    """Say whether the owner can do everything once inside: of all rows that match, sudo obeys the last."""
    said = system.run(("sudo", "-l", "-U", "pi")).out.decode()
    last = [row.split()[-1] for row in said.splitlines() if row.endswith("ALL")]
    return last[-1:] == ["ALL"]


def looser(system):
    """Name the settings that are looser than on the device as it was."""
    posture = Posture(system, SETTINGS, PRIVATE)
    found = []
    for name in ACCESS:
        reading, lattice = posture.probe(SETTINGS[name]), SETTINGS[name].lattice()
        value = reading.effective(lattice)
        if value is None or not lattice.leq(value, LOOSE[name]):
            found.append((name, value, reading.cause))
    return found


class Marks(Faulty):
    """Notes the numbers of the calls before which something on the disk has changed: the only cuts that differ."""

    def __init__(self, inner):
        super().__init__(inner)
        self.places = []
        self.seen = -1

    def _count(self, name):
        super()._count(name)
        moment = self.inner.disk._moment
        if moment != self.seen or self.places[-1:] == [-1]:
            self.places = [p for p in self.places if p > 0] + [self.inner.made + 1]
            self.seen = moment
        if name in ("fsync", "datasync"):
            self.places.append(-1)  # what comes next finds another disk
