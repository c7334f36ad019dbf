"""Any kind of credential takes part in first boot, alone or with others, and none is believed without looking."""

import pytest

from agent.core.credential import NEW, OLD, OTHER, Found
from agent.core.errors import Failed, Missing
from agent.core.secret import Secret
from agent.credentials import ssh_host_key
from agent.system.parts import Credential
from agent.system.simulated.system import SimulatedSystem
from tests.credentials.images import image
from tests.guard.boots import ACCOUNTS, DONE, FACTORY, boot, finished, made
from tests.guard.disk_store import DiskStore, FileGate


class Door:
    """A credential kind in a few lines: one file holds the password of a door; `find` may be blind."""

    PARAMS: tuple[str, ...] = ()
    PATH = "/etc/door"

    def __init__(self, blind=False):
        self.blind = blind

    def find(self, system, params, memory):
        """Find the factory's word, unless it was found before and this finder is blind the second time."""
        if system.read(self.PATH) != b"factory" or (self.blind and memory.retired):
            return ()
        return (
            Found(kind="door", label="front", reason="known", owner=True, old=Secret(b"factory"), trace=b"factory"),
        )

    def standing(self, system, params, found, new):
        """Compare."""
        stands = system.read(self.PATH)
        return OLD if stands == b"factory" else NEW if new is not None and stands == new.reveal() else OTHER

    def replace(self, system, params, found, new):
        """Put it in."""
        system.write(self.PATH, new.reveal(), 0o600)

    def prove(self, system, params, found, new):
        """Try both."""
        if system.read(self.PATH) != new.reveal():
            raise Failed("the door does not open; look at it")

    def clean(self, system, params, found):
        """Nothing is left elsewhere."""

    def remember(self, system, params, found, memory):
        """Note it."""
        memory.retired.add(found.trace)


def door():
    """Make a device with such a door."""
    return SimulatedSystem(image=lambda device: device.edit(Door.PATH, b"factory"), shipped=False)


def test_another_kind_is_one_module():
    """Anything with the six functions takes part: staged, put in, proven, told to the owner."""
    part: Credential = Door()
    system = door()
    assert boot(system, (("door", part, {}),)) == DONE
    assert system.read(Door.PATH) == DiskStore(system).get("credential/door/front") != b"factory"


def test_what_stands_is_believed_more_than_what_is_found():
    """A kind that no longer finds what is there again does not open the gate: each rotation is looked at by itself."""

    class Spoiler(Door):
        """A kind that has nothing to do, and sets the other's door back."""

        def find(self, system, params, memory):
            """Set it back."""
            system.write(Door.PATH, b"factory", 0o600)
            return ()

    system = door()
    with pytest.raises(Failed, match="stopped at prove, and the device stays shut in: the factory secret of front is"):
        boot(system, (("door", Door(blind=True), {}), ("spoiler", Spoiler(), {})))
    assert not FileGate(system).is_open()
    with pytest.raises(Failed, match=r"stopped at prove, .* still has a factory secret"):
        boot(door(), (("door", Door(), {}), ("spoiler", Spoiler(), {})))


def test_both_kinds_together():
    """A whole device: accounts and host keys, with the server running and answering with the new key at the end."""
    pam = ("/etc/pam.d/common-password", b"password requisite pam_unix.so\n")
    system = SimulatedSystem(image=image(FACTORY, (pam,)))
    before = system.run(("ssh-keyscan", "127.0.0.1")).out
    assert boot(system, (*ACCOUNTS, ("ssh_host_key", ssh_host_key, {}))) == DONE
    after = system.run(("ssh-keyscan", "127.0.0.1")).out
    assert len(before.splitlines()) == 3 and len(after.splitlines()) == 1 and after not in before
    finished(system)


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


def test_a_device_without_kinds_just_opens():
    """A profile that names no credentials: shut, proven trivially, open."""
    system = made()
    assert boot(system, kinds=()) == DONE
    with pytest.raises(Missing):
        system.read("/etc/shadow.lock")
