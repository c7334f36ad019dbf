"""First boots on simulated devices: how to make one, run one, end one at any call, and what must then hold."""

import hashlib
import itertools

from agent.core.errors import Missing
from agent.credentials import linux_account
from agent.guard.firstboot import MARKER, FirstBoot, Reached
from agent.system.simulated.programs import chpasswd, pwconv, ssh_keygen, unix_chkpwd
from agent.system.simulated.programs.sshd import HOST_KEYS
from agent.system.simulated.system import SimulatedSystem
from tests.credentials.images import OWNER, hashed, image
from tests.guard.disk_store import DiskStore, FileGate

FACTORY = {"pi": hashed("raspberry", "des"), "root": hashed("root", "des")}
LEFT = (("/etc/shadow-", f"pi:{FACTORY['pi']}:1:::::\n".encode()),)
ACCOUNTS = (("linux_account", linux_account, OWNER),)
DONE = Reached(phase="provisioned", returned=())


def stream():
    """Return a source of entropy that is the same each time, so that equal cuts leave equal disks."""
    drawn = itertools.count()
    return lambda count: hashlib.shake_256(b"%d" % next(drawn)).digest(count)


def made(fields=FACTORY, extra=LEFT, system=SimulatedSystem):
    """Make a device as it leaves the factory, with cheap hashes for new passwords too, and the account tools alone."""
    pam = ("/etc/pam.d/common-password", b"password requisite pam_unix.so\n")

    def lay(device):
        device.programs.update({"chpasswd": chpasswd, "pwconv": pwconv, "unix_chkpwd": unix_chkpwd})
        image(fields, (*extra, pam))(device)

    return system(image=lay, entropy=stream(), shipped=False)


def boot(system, kinds=ACCOUNTS, attempts=None):
    """Run the first boot of one start of the device."""
    return FirstBoot(system, DiskStore(system), FileGate(system), kinds, attempts).run()


def opens(system, name, password):
    """Say whether PAM takes a password."""
    return system.run(("unix_chkpwd", name, "nullok"), password + b"\0").code == 0


def secret(system, name="pi"):
    """Return the new secret that waits for the owner, or nothing."""
    return DiskStore(system).get(f"credential/linux_account/{name}") or b"-"


def sound(system):
    """Assert the promise at any instant: old and shut in, or new and known to the owner; what is open is new."""
    old = opens(system, "pi", b"raspberry")
    assert not old or not marked(system), "the mark says provisioned over a factory password"
    gate = FileGate(system)
    if old:
        assert not gate.is_open(), "the factory password opens a device that can be reached"
    else:
        assert opens(system, "pi", secret(system)), "the owner is locked out"
    if gate.is_open():
        assert not opens(system, "root", b"root")


def marked(system):
    """Say whether the device bears the mark that first boot is over."""
    try:
        return system.stat(MARKER).kind == "file"
    except Missing:
        return False


def finished(system):
    """Assert the end: provisioned, open, old secrets refused and on no part of the disk, the new one known."""
    assert boot(system) == DONE
    for cut in (False, True):  # as it is, and after a cut at the very end: what is done is durable
        if cut:
            system.crash("all")
        sound(system)
        assert FileGate(system).is_open()
        assert DiskStore(system).get("first_boot") == {"phase": "provisioned"}
        assert system.read(MARKER) == b""
        assert not opens(system, "pi", b"raspberry")
        assert not opens(system, "root", b"root")
        for path, node in system.disk.walk():
            assert FACTORY["pi"].encode() not in bytes(node.content), path


def state(system):
    """Return a digest of everything on the disk, so that equal states need be continued once only."""
    seen = hashlib.sha256()
    for path, node in sorted(system.disk.walk(), key=lambda pair: pair[0]):
        if not node.volatile and node.kind == "file":
            seen.update(repr((path, bytes(node.content), node.kept_content, node.rights)).encode())
        elif not node.volatile:
            seen.update(repr((path, sorted(node.names), sorted(node.kept_names), len(node.pending))).encode())
    return seen.digest()


ENDS = {
    "cut, unsynced lost": lambda system, k, work: system.kill_at(k, work, "all"),
    "cut, unsynced kept": lambda system, k, work: system.kill_at(k, work, "none"),
    "cut, unsynced torn": lambda system, k, work: system.kill_at(k, work, "torn"),
    "killed": lambda system, k, work: system.die_at(k, work),
}


def swept(make, work, check):
    """End work at each of its calls and check what then is; return (calls, ends that fired, states checked).

    At every call the power is cut. Where the disk differs from all cuts before, the work is ended there in every way,
    and whatever that leaves on the disk is checked once.
    """
    total = make().count(work)
    fired, seen, checked = 0, set(), set()
    for k in itertools.count(1):
        now = []

        def watched(system, now=now):
            """Do the work, and look at the disk in the moment of the end."""
            try:
                work(system)
            finally:
                now.append(state(system))

        if not make().kill_at(k, watched, "all"):
            return total, fired, len(checked)
        fired += 1
        if now[0] in seen:
            continue
        seen.add(now[0])
        for end in ENDS.values():
            system = make()
            assert end(system, k, work)
            left = state(system)
            if left not in checked:
                checked.add(left)
                check(system)
    raise AssertionError("never without an end")


def with_keys(paths=HOST_KEYS[1:]):
    """Make a device with the image's host keys; its server is not running yet, as before the network is up."""

    def lay(device):
        device.programs["ssh-keygen"] = ssh_keygen
        for path in paths:
            ssh_keygen.make(device, path, "factory")

    return SimulatedSystem(image=lay, entropy=stream(), shipped=False)
