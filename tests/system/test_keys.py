"""The state key: made once, whole or not at all, never replaced."""

import os
from pathlib import Path

import pytest

from agent.core.errors import Missing, Tampered
from agent.system.door import System
from agent.system.keys import STATE_KEY, FileSlot
from agent.system.real import RealSystem
from agent.system.simulated.system import SimulatedSystem

OWNER = (os.getuid(), os.getgid())


def slot(system: System) -> FileSlot:
    """The file slot, for the user who runs the tests."""
    return FileSlot(system, owner=OWNER)


@pytest.fixture(name="system", params=["real", "simulated"])
def _system(request: pytest.FixtureRequest, tmp_path: Path) -> RealSystem | SimulatedSystem:
    """The real door on a folder, then the simulated one."""
    return RealSystem(str(tmp_path)) if request.param == "real" else SimulatedSystem()


def test_the_state_key_is_made_once(system):
    """The first opening makes a key for root alone; later ones find it, and put loose rights right."""
    key, made = slot(system).open()
    assert made and len(key.reveal()) == 32
    assert (system.stat(STATE_KEY).mode, system.stat("/var/lib/privet/keys").mode) == (0o600, 0o700)
    system.own(STATE_KEY, 0o644, *OWNER)
    assert slot(system).open() == (key, False)
    assert system.stat(STATE_KEY).mode == 0o600


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33), bytes(5000)])
def test_a_damaged_key_is_never_replaced(system, content):
    """A key of the wrong length is Tampered and left as it is: it may be all that opens the state."""
    system.write(STATE_KEY, content, 0o600, *OWNER)
    with pytest.raises(Tampered, match="key"):
        slot(system).open()
    assert system.read(STATE_KEY) == content


def test_an_erased_key_is_gone(system):
    """After erasing the next opening makes another key; erasing twice, or a damaged key, is fine."""
    key, _ = slot(system).open()
    slot(system).erase()
    with pytest.raises(Missing):
        system.stat(STATE_KEY)
    slot(system).erase()
    other, made = slot(system).open()
    assert made and other != key
    system.write(STATE_KEY, bytes(5000), 0o600, *OWNER)
    slot(system).erase()
    assert slot(system).open()[1]


def test_a_key_survives_a_cut_at_every_call():
    """Power cut at each call of the first opening: afterwards there is one whole key, and never a part of one."""
    fired = 0
    for k in range(1, 200):
        system = SimulatedSystem()
        if not system.kill_at(k, lambda device: slot(device).open()):
            break
        fired += 1
        key, _ = slot(system).open()
        assert len(key.reveal()) == 32
    assert fired > 10
