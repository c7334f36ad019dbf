"""Whatever is done to a device in whatever order, by people, stations, thieves and itself: its state has its ground."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from agent.core.errors import PrivetError
from provisioning.fleet import keeping, rows, states
from provisioning.fleet.authority import PEM
from provisioning.fleet.registry import Planned
from provisioning.fleet.tables import shut, tokens
from tests.fleet.enrolling import DAY, Office, asked, key
from tests.fleet.test_handover import TOKEN, handed, receipt

NEW = (states.PLANNED, states.FLASHED, states.VERIFIED)
Act = Callable[["Life"], Any]


class Life:
    """A device, what it holds, and what can be done to it; what is refused changes nothing."""

    def __init__(self, office: Office) -> None:
        self.office, self.registry = office, office.registry
        self.cards = office.planned()
        self.device = self.cards[0].device
        self.keys = [key()]
        self.held: list[bytes] = []

    def claim(self, mine: Any) -> None:
        """Come with the newest token."""
        got = self.office.claim(self.cards[-1], asked(mine)).certificate
        if got and got not in self.held:
            self.held.append(got)
            self.keys.append(mine)

    def renew(self) -> None:
        """Come seventy days later."""
        self.office.clock.ahead += 70 * DAY
        mine = key()
        got = self.office.renew(self.held[-1], asked(mine)).certificate if self.held else b""
        if got:
            self.held.append(got)
            self.keys.append(mine)

    def revoke(self, which: int) -> None:
        """Revoke one of its certificates by hand."""
        for der in self.held[which:][:1]:
            keeping.revoke(self.registry, [x509.load_der_x509_certificate(der).public_bytes(PEM)], "", "ada")

    def do(self, act: str) -> None:
        """Do one thing."""
        try:
            ACTS[act](self)
        except PrivetError:
            return


ACTS: dict[str, Act] = {
    "flash": lambda one: one.cards.append(one.registry.token(one.device)),
    "verify": lambda one: one.registry.happened(one.device, states.VERIFY),
    "fail": lambda one: one.registry.happened(one.device, states.FAIL),
    "claim": lambda one: one.claim(one.keys[-1]),
    "claim anew": lambda one: one.claim(key()),
    "own token": lambda one: one.cards.append(Planned(device=one.device, token=TOKEN)),
    "seen": lambda one: one.office.contact(one.held[-1]) if one.held else None,
    "renew": Life.renew,
    "quarantine": lambda one: one.registry.quarantine(one.device, "why", "ada"),
    "release": lambda one: one.registry.release(one.device, "why", "ada"),
    "transfer": lambda one: one.registry.transfer(one.device, "ada"),
    "hand in": lambda one: handed(one.office, receipt(one.keys[-1], one.device)),
    "erased": lambda one: one.cards.append(one.registry.erased(one.device, by="ada")),
    "revoke first": lambda one: one.revoke(0),
    "revoke last": lambda one: one.revoke(-1),
    "retire": lambda one: one.registry.retire(one.device, by="ada"),
}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Give a fleet's desk."""
    return Office(tmp_path_factory.mktemp("office"))


def grounded(life: Life) -> str:
    """Hold a device's state against what the registry has of it; return the state."""
    row, held, told = life.registry.shown(life.device)
    found = {one.state for one in held}
    events = [one.event for one in told]
    with life.registry.engine.connect() as connection:
        kept = connection.execute(select(shut.c.state).where(shut.c.device == life.device)).all()
        open_ones = connection.execute(select(tokens).where(tokens.c.device == life.device)).all()
    in_force = found & set(rows.IN_FORCE)
    assert (row.state == states.QUARANTINED) == bool(kept), "where it is let back to is known, and of nobody else"
    assert (rows.HELD in found) <= (row.state == states.QUARANTINED), "nothing is held of who is not in quarantine"
    if row.state in NEW:
        assert not found, "who is new has no certificate"
    elif row.state in {states.CLAIMED, states.ACTIVE}:
        assert in_force, "who is in use has a certificate that counts"
        assert row.state == states.CLAIMED or "seen" in events, "who is active was seen"
    elif row.state == states.TRANSFERRING:
        assert states.TRANSFER in events and (in_force or "revoked" in events)
    else:
        assert not in_force, "nobody else is let in"
    if row.state == states.RESET:
        assert states.ERASED in events
    if row.state == states.REVOKED:
        assert "revoked" in events
    if row.state == states.RETIRED:
        assert all(one.state == rows.VOID for one in open_ones)
    return str(row.state)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(sorted(ACTS)), min_size=4, max_size=14))
def test_no_series_of_acts_reaches_a_state_without_its_ground(office: Office, acts: list[str]):
    """After each act: certificates, tokens and ledger are such as the state says; release leads back, nowhere else."""
    office.clock.ahead = 0
    life, before = Life(office), states.PLANNED
    state = states.PLANNED
    for act in acts:
        life.do(act)
        following = grounded(life)
        if state != following == states.QUARANTINED:
            before = state
        if state == states.QUARANTINED != following and act == "release":
            meanwhile = {states.RESET, states.REVOKED} if before not in NEW else set()
            assert following in {before, *meanwhile}
        state = following


WAYS = {
    states.PLANNED: (),
    states.FLASHED: ("flash",),
    states.VERIFIED: ("flash", "verify"),
    states.CLAIMED: ("claim",),
    states.ACTIVE: ("claim", "seen"),
    states.TRANSFERRING: ("claim", "transfer"),
    states.RESET: ("claim", "seen", "hand in"),
    states.REVOKED: ("claim", "seen", "revoke last"),
}


@pytest.mark.parametrize("state", WAYS)
def test_release_leads_back_from_everywhere(office: Office, state: str):
    """Every state a device can be shut out from is the one it is let back to, with its why, twice shut out or not."""
    office.clock.ahead = 0
    assert set(WAYS) == {one for one, event in states.TABLE if event == states.QUARANTINE} - {states.QUARANTINED}
    life = Life(office)
    for act in WAYS[state]:
        life.do(act)
    row = life.registry.shown(life.device)[0]
    assert row.state == state
    for act in ("quarantine", "quarantine"):
        life.do(act)
    assert life.registry.following(life.device, states.RELEASE) == (states.QUARANTINED, state)
    assert life.registry.release(life.device, "why", "ada") == state == grounded(life)
    assert life.registry.shown(life.device)[0].why == row.why


def test_what_happens_in_quarantine_counts(office: Office):
    """Its owner's receipt or a revocation meanwhile: it is let back to reset, or to wait for a seed."""
    for act, state in (("hand in", states.RESET), ("revoke last", states.REVOKED)):
        office.clock.ahead = 0
        life = Life(office)
        for one in ("claim", "seen", "quarantine", act, "release"):
            life.do(one)
        assert grounded(life) == state
        life.do("flash")
        life.do("claim anew")
        assert grounded(life) == states.CLAIMED


@pytest.mark.parametrize("state", [states.PLANNED, states.ACTIVE, states.RESET, states.REVOKED])
def test_quarantines_of_before_are_understood(office: Office, state: str):
    """A registry that did not write down where from: what the certificates and the receipt say."""
    office.clock.ahead = 0
    life = Life(office)
    for act in (*WAYS[state], "quarantine"):
        life.do(act)
    with life.registry.act() as (connection, _book):
        connection.execute(delete(shut).where(shut.c.device == life.device))
    assert life.registry.release(life.device, "why", "ada") == state == grounded(life)


def test_the_ground_is_missed_where_it_lacks(office: Office, tmp_path: Path):
    """The twin: a device called active that has no certificate is found."""
    life = Life(office)
    with life.registry.act() as (connection, _book):
        connection.execute(rows.MOVED, {"device": life.device, "to_state": states.ACTIVE, "to_why": "", "now": 1})
    with pytest.raises(AssertionError, match="certificate that counts"):
        grounded(life)
