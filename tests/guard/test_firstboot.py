"""First boot ends with the factory's secrets dead and the owner's known, wherever it is cut; the gate opens last."""

import hashlib
import itertools
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.errors import Failed, Missing, PrivetError, Tampered
from agent.credentials import linux_account, ssh_host_key
from agent.guard.firstboot import FirstBoot, Reached
from agent.system.simulated.disk import KEPT, LOST, TORN
from agent.system.simulated.programs import chpasswd, pwconv, ssh_keygen, unix_chkpwd
from agent.system.simulated.programs.sshd import HOST_KEYS
from agent.system.simulated.system import SimulatedSystem
from tests.credentials.images import OWNER, field, hashed, image
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
    gate = FileGate(system)
    if old:
        assert not gate.is_open(), "the factory password opens a device that can be reached"
    else:
        assert opens(system, "pi", secret(system)), "the owner is locked out"
    if gate.is_open():
        assert not opens(system, "root", b"root")


def finished(system):
    """Assert the end: provisioned, open, old secrets refused and on no part of the disk, the new one known."""
    assert boot(system) == DONE
    for cut in (False, True):  # as it is, and after a cut at the very end: what is done is durable
        if cut:
            system.crash("all")
        sound(system)
        assert FileGate(system).is_open()
        assert DiskStore(system).get("first_boot") == {"phase": "provisioned"}
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


def test_ended_at_every_call():
    """A power cut or a kill at any call of the first boot: at once safe, and the next start ends it well, durably."""

    def check(system):
        sound(system)
        finished(system)

    total, fired, states = swept(made, boot, check)
    assert fired == total > 300
    assert states > 50


class Unsynced(SimulatedSystem):
    """The known-bad twin: a door whose sync does nothing."""

    def sync(self, path):
        """Do not make durable what another program wrote."""


def test_without_sync_the_factory_password_comes_back():
    """The twin shows what the sync is for: provisioned is recorded, power goes, and the factory password is back."""
    system = made({"pi": FACTORY["pi"]}, (), Unsynced)
    assert boot(system) == DONE
    assert not opens(system, "pi", b"raspberry")
    system.crash("all")
    assert DiskStore(system).get("first_boot") == {"phase": "provisioned"}
    assert opens(system, "pi", b"raspberry")
    assert boot(system).returned == ("linux_account/pi",)  # at least the next start sees it and says so


FATES = st.sampled_from(["all", "none", "torn"])


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans(), FATES), max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_many_cuts_in_a_row(ends, dice):
    """Cuts and kills one after the other, each at any call, each thing on the card kept, lost or torn by chance."""
    system = made()
    for k, killed, lose in ends:
        if killed:
            system.die_at(k, boot)
        else:
            system.kill_at(k, boot, lose if dice.random() < 0.5 else lambda _: dice.choice((KEPT, LOST, TORN)))
        sound(system)
    finished(system)


def test_a_provisioned_device_is_only_looked_at():
    """Running again changes nothing and writes nothing, and what was hashed once is not hashed again."""
    system = made()
    boot(system)
    before = state(system)
    calls = system.count(boot)
    assert boot(system) == DONE
    assert state(system) == before
    assert calls < 40


def test_a_factory_password_that_returns_is_told():
    """Someone sets the factory password again after first boot: it is named, not silently accepted."""
    system = made()
    boot(system)
    system.run(("chpasswd",), b"pi:raspberry\n")
    assert boot(system).returned == ("linux_account/pi",)
    system.run(("chpasswd",), b"pi:something else\n")
    assert boot(system) == DONE


def test_the_new_secret_is_kept_before_the_old_one_goes():
    """At the moment chpasswd runs, the store on the disk already holds what it sets."""

    class Watched(SimulatedSystem):
        """Looks at the store whenever a password tool is started."""

        seen: tuple[bytes, ...] = ()

        def run(self, argv, stdin=b"", seconds=20):
            """Note whether the staged secret is the one being set."""
            if argv == ("chpasswd",):
                assert stdin == b"pi:" + secret(self) + b"\n"
                assert not FileGate(self).is_open()
                self.seen = (*self.seen, stdin)
            assert not any(word.encode() in secret(self) for word in argv), "a secret in an argument"
            return super().run(argv, stdin, seconds)

    system = made(system=Watched)
    boot(system)
    assert len(system.seen) == 1


def test_an_owner_quicker_than_us_keeps_his_password():
    """The owner sets a password between two starts: ours is let go of, his stays, nothing wrong is shown."""
    system = made({"pi": FACTORY["pi"]}, ())
    k = next(k for k in range(1, 500) if staged_at(k))
    system.kill_at(k, boot, "none")
    assert secret(system) != b"-"
    system.run(("chpasswd",), b"pi:the owner's own\n")
    assert boot(system) == DONE
    assert opens(system, "pi", b"the owner's own")
    assert secret(system) == b"-"
    assert any(body.get("act") == "drop" for _, body in DiskStore(system).journal)


def staged_at(k):
    """Say whether a cut at this call leaves the new secret staged and the old password in place."""
    system = made({"pi": FACTORY["pi"]}, ())
    system.kill_at(k, boot, "none")
    return secret(system) != b"-" and opens(system, "pi", b"raspberry")


def test_a_secret_handed_out_too_early_is_replaced():
    """The owner took the staged secret before it was put in: another is made, shown, and works."""
    system = made({"pi": FACTORY["pi"]}, ())
    system.kill_at(next(k for k in range(1, 500) if staged_at(k)), boot, "none")
    early = secret(system)
    DiskStore(system).put({"credential/linux_account/pi": None})
    assert boot(system) == DONE
    assert opens(system, "pi", secret(system)) and secret(system) != early


def test_the_taken_secret_is_gone():
    """After the owner took the secret, it is on no part of the disk, and the device stays provisioned."""
    system = made()
    boot(system)
    taken = secret(system)
    DiskStore(system).put({"credential/linux_account/pi": None})
    assert boot(system) == DONE
    assert opens(system, "pi", taken)
    system.crash("all")
    for path, node in system.disk.walk():
        assert taken not in bytes(node.content), path


@pytest.mark.parametrize("absent", ["chpasswd", "unix_chkpwd"])
def test_a_missing_tool_leaves_the_gate_shut(absent):
    """Without the tools nothing is proven: one sentence, gate shut; once the tool is there the next start ends well."""
    system = made()
    system.absent.add(absent)
    with pytest.raises(
        Failed, match="first boot stopped at rotate linux_account, and the device stays shut in"
    ) as error:
        boot(system)
    assert "\n" not in str(error.value) and secret(system).decode() not in str(error.value)
    assert not FileGate(system).is_open()
    assert DiskStore(system).journal[-1][1]["failed"]
    system.absent.clear()
    sound(system)
    finished(system)


def test_a_full_or_readonly_disk_leaves_the_gate_shut():
    """No space or no writing at any instant: an error of ours, gate shut, and recovery without help afterwards."""
    for room in range(0, 4000, 400):
        system = made()
        FileGate(system).shut()
        system.disk.capacity = system.disk.used() + room
        with suppress(PrivetError):
            boot(system)
        sound(system)
        system.disk.capacity = None
        finished(system)
    system = made()
    system.disk.read_only = True
    with pytest.raises(PrivetError):
        boot(system)
    assert not FileGate(system).is_open()


def test_a_damaged_store_shuts_the_gate():
    """A store that cannot be read proves nothing: the gate is shut before the error is told."""
    system = made()
    boot(system)

    class Damaged(DiskStore):
        """A store whose seal is broken."""

        def get(self, key):
            """Refuse."""
            raise Tampered("the store was changed; restore it")

    with pytest.raises(Tampered):
        FirstBoot(system, Damaged(system), FileGate(system), ACCOUNTS).run()
    assert not FileGate(system).is_open()


def test_a_gate_that_does_not_shut_stops_everything():
    """If the gate cannot be shut, no secret is touched."""

    class Stuck(FileGate):
        """A gate that does not move."""

        def shut(self):
            """Refuse."""
            raise Failed("nft is not there; install it")

    system = made()
    with pytest.raises(Failed, match="stopped at shut"):
        FirstBoot(system, DiskStore(system), Stuck(system), ACCOUNTS).run()
    assert field(system, "pi") == FACTORY["pi"]


def test_a_program_that_sets_it_back_is_named():
    """Something that puts the old hash back at once does not keep first boot busy for ever."""

    class Fought(SimulatedSystem):
        """Another writer undoes each change."""

        def sync(self, path):
            """Put the factory's line back before it is synced."""
            content = self.read("/etc/shadow").decode().splitlines()
            lines = [f"pi:{FACTORY['pi']}:1:::::" if line.startswith("pi:") else line for line in content]
            self.edit("/etc/shadow", "\n".join(lines).encode())
            super().sync(path)

    system = made({"pi": FACTORY["pi"]}, (), Fought)
    with pytest.raises(Failed, match="does not stay as it was set"):
        boot(system)
    assert not FileGate(system).is_open()


def test_a_further_door_that_still_takes_the_old_one_stops_it():
    """A login over loopback that still takes the old password keeps the gate shut; None means there is no such door."""
    tried = []

    def login(answer):
        def attempt(label, old):
            tried.append((label, old.reveal()))
            return answer

        return {"linux_account": attempt}

    system = made()
    with pytest.raises(Failed, match="still opens a door"):
        boot(system, attempts=login(True))
    assert not FileGate(system).is_open()
    assert boot(system, attempts=login(None)) == DONE
    assert ("pi", b"raspberry") in tried and ("root", b"root") in tried


def test_another_salt_of_the_factory_password_is_rotated_again():
    """The image's hash is replaced by another hash of the same factory password in the middle: it goes as well."""
    system = made({"pi": FACTORY["pi"]}, ())
    system.kill_at(next(k for k in range(1, 500) if staged_at(k)), boot, "none")
    system.edit("/etc/shadow", f"pi:{hashed('raspberry', 'sha256')}:1:::::\n".encode())
    assert boot(system) == DONE
    assert not opens(system, "pi", b"raspberry")
    assert opens(system, "pi", secret(system))


def test_a_device_without_kinds_just_opens():
    """A profile that names no credentials: shut, proven trivially, open."""
    system = made()
    assert boot(system, kinds=()) == DONE
    with pytest.raises(Missing):
        system.read("/etc/shadow.lock")


def with_keys():
    """Make a device with the image's host keys; its server is not running yet, as before the network is up."""

    def lay(device):
        device.programs["ssh-keygen"] = ssh_keygen
        for path in HOST_KEYS[1:]:
            ssh_keygen.make(device, path, "factory")

    return SimulatedSystem(image=lay, entropy=stream(), shipped=False)


def test_host_keys_ended_at_every_call():
    """The same for host keys: wherever it ends, the next start leaves one new key that loads, the image's are gone."""
    kinds = (("ssh_host_key", ssh_host_key, {}),)
    shipped = with_keys().read(HOST_KEYS[2])

    def work(system):
        return boot(system, kinds)

    def check(system):
        held = system.entries("/etc/ssh")
        if shipped in [system.read(f"/etc/ssh/{name}") for name in held if name.endswith("_key")]:
            assert not FileGate(system).is_open()
        assert work(system) == DONE
        system.crash("all")
        assert FileGate(system).is_open()
        assert work(system) == DONE
        assert [name for name in system.entries("/etc/ssh") if "host" in name] == [
            "ssh_host_ed25519_key",
            "ssh_host_ed25519_key.pub",
        ]
        loaded = system.run(("ssh-keygen", "-y", "-f", HOST_KEYS[2])).out.split()
        assert loaded == system.read(HOST_KEYS[2] + ".pub").split()[:2]
        assert shipped not in [bytes(node.content) for _, node in system.disk.walk()]

    total, fired, states = swept(with_keys, work, check)
    assert fired == total > 200
    assert states > 20


def test_both_kinds_together():
    """A whole device: accounts and host keys, with the server running and answering with the new key at the end."""
    pam = ("/etc/pam.d/common-password", b"password requisite pam_unix.so\n")
    system = SimulatedSystem(image=image(FACTORY, (pam,)))
    before = system.run(("ssh-keyscan", "127.0.0.1")).out
    assert boot(system, (*ACCOUNTS, ("ssh_host_key", ssh_host_key, {}))) == DONE
    after = system.run(("ssh-keyscan", "127.0.0.1")).out
    assert len(before.splitlines()) == 3 and len(after.splitlines()) == 1 and after not in before
    finished(system)
