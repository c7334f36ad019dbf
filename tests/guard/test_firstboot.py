"""First boot in order: gate shut, every factory secret replaced and proven, gate open; what it does when it cannot."""

from contextlib import suppress

import pytest

from agent.core.errors import Failed, PrivetError, Tampered
from agent.guard.firstboot import MARKER, FirstBoot
from agent.system.simulated.system import SimulatedSystem
from tests.credentials.images import field, hashed
from tests.guard.boots import ACCOUNTS, DONE, FACTORY, boot, finished, made, marked, opens, secret, sound, state
from tests.guard.disk_store import DiskStore, FileGate


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
    system.edit("/etc/shadow-", system.read("/etc/shadow"))  # what passwd leaves behind
    system.run(("chpasswd",), b"pi:the owner's own\n")
    assert boot(system) == DONE
    assert opens(system, "pi", b"the owner's own")
    assert FACTORY["pi"].encode() not in system.read("/etc/shadow-")
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


def test_another_salt_of_the_factory_password_is_rotated_again():
    """The image's hash is replaced by another hash of the same factory password in the middle: it goes as well."""
    system = made({"pi": FACTORY["pi"]}, ())
    system.kill_at(next(k for k in range(1, 500) if staged_at(k)), boot, "none")
    system.edit("/etc/shadow", f"pi:{hashed('raspberry', 'sha256')}:1:::::\n".encode())
    assert boot(system) == DONE
    assert not opens(system, "pi", b"raspberry")
    assert opens(system, "pi", secret(system))


def test_the_mark_follows_the_store():
    """The mark for the units comes with the end, comes back when it was lost, and goes when a first boot begins."""
    system = made()
    system.edit(MARKER, b"", mode=0o644)  # the card is a copy of one that was in use
    FirstBoot(system, DiskStore(system), FileGate(system), ACCOUNTS).enter("shut")
    assert not marked(system)
    boot(system)
    assert marked(system) and system.stat(MARKER).mode == 0o644
    system.hand.discard(MARKER)
    assert boot(system) == DONE and marked(system)
    system.crash("all")
    assert marked(system)
