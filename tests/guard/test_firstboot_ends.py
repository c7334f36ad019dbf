"""First boot ends with the factory's secrets dead and the owner's known, wherever power or process ends in between."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.credentials import ssh_host_key
from agent.system.simulated.disk import KEPT, LOST, TORN
from agent.system.simulated.programs.sshd import HOST_KEYS
from agent.system.simulated.system import SimulatedSystem
from tests.guard.boots import DONE, FACTORY, boot, finished, made, opens, sound, swept, with_keys
from tests.guard.disk_store import DiskStore, FileGate


def test_ended_at_every_call():
    """A power cut or a kill at any call of the first boot: at once safe, and the next start ends it well, durably."""

    def check(system):
        sound(system)
        finished(system)

    total, fired, states = swept(made, boot, check)
    assert fired == total > 300
    assert states > 50


def test_a_kill_between_the_tool_and_the_sync_is_made_good():
    """Killed after chpasswd renamed and before we synced: the next start must not take the unsynced for done."""
    for k in range(1, 500):
        system = made({"pi": FACTORY["pi"]}, ())
        assert system.die_at(k, boot)
        if not opens(system, "pi", b"raspberry"):
            break
    else:
        raise AssertionError("the new password was never in place")
    system.crash("all")
    assert opens(system, "pi", b"raspberry")  # it was not durable indeed
    system = made({"pi": FACTORY["pi"]}, ())
    system.die_at(k, boot)
    assert boot(system) == DONE
    system.crash("all")
    assert not opens(system, "pi", b"raspberry")


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


def test_a_key_killed_before_it_was_durable():
    """Killed between the rename of a new host key and the sync of its directory: the next start makes it durable."""
    kinds = (("ssh_host_key", ssh_host_key, {}),)
    path = HOST_KEYS[2]
    for k in range(1, 500):
        system = with_keys((path,))
        shipped = system.read(path)
        assert system.die_at(k, lambda one: boot(one, kinds))
        if system.read(path) != shipped:
            break
    else:
        raise AssertionError("the new key was never in place")
    assert boot(system, kinds) == DONE
    system.crash("all")
    assert system.read(path) != shipped
    system = with_keys((path,))
    system.die_at(k, lambda one: boot(one, kinds))
    system.crash("all")
    assert system.read(path) == shipped  # it was not durable indeed
