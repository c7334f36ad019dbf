"""A seed that is sealed to a board: it opens there and nowhere else, and enrols as any other."""

from pathlib import Path
from typing import Any

import pytest

from agent.core import enrol
from agent.core.cose import split_sign1
from agent.core.errors import PrivetError, Tampered, WrongDevice
from agent.core.seed import sealed_payload
from agent.core.slot import SEED, whole
from agent.guard import glass
from agent.guard.seeds import establish
from agent.system import boardkey
from agent.system.simulated import SimulatedSystem
from provisioning.fleet import boardseal
from provisioning.fleet.identity import Fleet
from provisioning.profile.sign import sign
from tests.guard.enrolling import DAY, NOW, SLOT, Desk, Start, Steady, card, certificate, enrolled, raw_holds
from tests.guard.test_erasure import Empty

OWN, OTHER = b"b" * 32, b"o" * 32


def public(desk: Desk, key: bytes) -> bytes:
    """Return the public half that a board with this secret shows."""
    system = SimulatedSystem(shipped=False)
    system.edit(boardkey.BOARD_KEY, key, mode=0o600)
    return boardkey.public(system, Steady(desk))


def sealed(desk: Desk, key: bytes, **changes: Any) -> bytes:
    """Return a slot whose seed is sealed to a board; `changes` are made to what is signed."""
    message = desk.seed()[16:4096]
    length = int.from_bytes(desk.seed()[12:16], "big")
    payload = split_sign1(message[:length], 4080).payload
    made = boardseal.sealed(payload, NOW - DAY, public(desk, key))
    for name, value in changes.items():
        made = type(made)(**{**{one: getattr(made, one) for one in ("board", "floor", "sealed")}, name: value})
    return whole(SEED, sign(sealed_payload(made), desk.fleet.signing_key()))


def board(desk: Desk, slot: bytes, key: bytes = OWN) -> SimulatedSystem:
    """Make a device on a board that has a key of its own, none when it is empty."""
    system = card(desk, slot)
    if key:
        system.edit(boardkey.BOARD_KEY, key, mode=0o600)
    return system


def test_it_enrols_on_its_own_board(desk: Desk):
    """From the sealed seed to the certificate and the receipt; the card never held the token in the clear."""
    system = board(desk, sealed(desk, OWN))
    assert not raw_holds(system)
    start = Start(system, desk)
    enrolled(system, desk)
    assert start.made.act == enrol.REST


def test_an_open_seed_is_still_read(desk: Desk):
    """A board with a key of its own takes a seed that is sealed to nobody: old cards go on."""
    system = board(desk, desk.seed())
    Start(system, desk)
    enrolled(system, desk)


@pytest.mark.parametrize("key", [OTHER, b"", b"short"], ids=["another board", "no key", "a damaged key"])
def test_it_opens_nowhere_else(desk: Desk, key: bytes):
    """On every other board the device stays nobody's and shut, nothing is asked, and the card is left as it was."""
    slot = sealed(desk, OWN)
    system = board(desk, slot, key)
    with pytest.raises(WrongDevice, match="sealed to"):
        establish(system, Steady(desk))
    assert system.read(SLOT) == slot and desk.asked == [] and certificate(system) is None
    assert key == b"" or system.read(boardkey.BOARD_KEY) == key


@pytest.mark.parametrize(
    "change", [{"floor": NOW}, {"sealed": b"x" * 1200}, {"board": b"12345678"}], ids=["time", "bytes", "board"]
)
def test_what_is_bound_cannot_be_changed(desk: Desk, change: dict[str, Any]):
    """Another time, other bytes, another board's name, though rightly signed: it does not open."""
    system = board(desk, sealed(desk, OWN, **change))
    with pytest.raises((Tampered, WrongDevice)):
        establish(system, Steady(desk))


def test_a_seal_by_others_counts_for_nothing(desk: Desk, tmp_path: Path):
    """Whoever knows the public key can seal to it; what the fleet has not signed is not even opened."""
    slot = sealed(Desk(Fleet.create(tmp_path / "fleet", "hill")), OWN)
    with pytest.raises(Tampered, match="not signed by this fleet"):
        establish(board(desk, slot), Steady(desk))


def test_the_key_is_made_once_and_goes_with_the_owner(desk: Desk):
    """Asked twice it is the same, root's alone; erased by its owner the board is a stranger to its old seeds."""
    system = SimulatedSystem(shipped=False)
    first = boardkey.public(system, Steady(desk))
    assert boardkey.public(system, Steady(desk)) == first and len(first) == 1216
    stat = system.stat(boardkey.BOARD_KEY)
    assert (stat.mode, stat.uid) == (0o600, 0)
    glass.keep(system, glass.ASKED, {"state": "asked", "by": glass.OWNER, "receipt": b"signed"})
    glass.start_over(system, Empty)  # type: ignore[arg-type]
    with pytest.raises(PrivetError):
        system.read(boardkey.BOARD_KEY)
    assert boardkey.public(system, Steady(desk)) != first


def test_it_ends_at_every_call_with_the_seed_or_the_certificate(desk: Desk):
    """A cut while the board's key is made leaves a whole key or none: the next ask gives one that lasts."""
    k = fired = 0
    while True:
        k += 1
        system = SimulatedSystem(shipped=False)
        if not system.kill_at(k, lambda one: boardkey.public(one, Steady(desk)), "all"):
            break
        fired += 1
        after = boardkey.public(system, Steady(desk))
        system.crash("all")
        assert boardkey.public(system, Steady(desk)) == after
    assert fired >= 2
