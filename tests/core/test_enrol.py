"""Enrolment: from wherever a cut leaves a device, the acts lead to rest; nothing is wiped that is still needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core import enrol as e
from agent.core.clock import Clock
from agent.core.errors import Refused
from agent.core.record import replace

SLOTS = (e.EMPTY, e.SEED, e.ASKED, e.RECEIPT, e.DAMAGED, e.OTHERS)
NEXTS = ((e.NONE, ""), (e.NONE, e.TOKEN), *((n, b) for n in (e.KEY, e.CERTIFICATE) for b in (e.TOKEN, e.RENEWAL)))
LIFE = 300


@st.composite
def standings(draw):
    """Any standing a cut can leave: a certificate only over a key, a next pair only over a certificate."""
    certificate = draw(st.booleans())
    next_pair, by = draw(st.sampled_from(NEXTS)) if certificate else (e.NONE, "")
    return e.Standing(
        slot=draw(st.sampled_from(SLOTS)), key=certificate or draw(st.booleans()), certificate=certificate,
        next=next_pair, by=by, begins=0, ends=LIFE, now=draw(st.integers(0, 2 * LIFE)), told=draw(st.booleans()),
    )  # fmt: skip


def done(stands, act):
    """What an act leads to when it succeeds."""
    after = {
        e.ADOPT: {"slot": e.ASKED, "by": e.TOKEN if stands.certificate else "", "next": e.NONE},
        e.MAKE: {"key": True},
        e.MAKE_NEXT: {"next": e.KEY, "by": e.TOKEN if stands.slot == e.ASKED else e.RENEWAL},
        e.TIME: {"told": True},
        e.ASK: {"certificate": True, "begins": stands.now, "ends": stands.now + LIFE},
        e.ASK_NEXT: {"next": e.CERTIFICATE},
        e.RENEW: {"next": e.CERTIFICATE},
        e.WIPE: {"slot": e.RECEIPT},
        e.TRY: {"next": e.NONE, "by": "", "begins": stands.now, "ends": stands.now + LIFE},
    }
    return replace(stands, **after[act])


@given(standings())
def test_from_anywhere_the_acts_end(stands):
    """The acts come to rest, or say that a seed is lacking; with a certificate and a used seed they end wiped."""
    acts = []
    while (act := e.next_act(stands)) not in (e.REST, e.LEAVE, e.LOST):
        if act == e.WIPE:
            assert stands.certificate, "the seed is wiped although it is needed"
            assert stands.by != e.TOKEN or stands.next == e.CERTIFICATE or stands.slot == e.DAMAGED
        if act == e.TRY:
            assert stands.slot not in (e.SEED, e.ASKED), "the broker is tried before the seed is wiped"
        if act in (e.ASK, e.ASK_NEXT, e.RENEW):
            assert stands.told, "a certificate is asked for before the time is known"
        acts.append(act)
        assert len(acts) < 12, acts
        stands = done(stands, act)
    assert stands.slot not in (e.SEED, e.ASKED)
    assert act != e.REST or (stands.certificate and stands.slot != e.DAMAGED)


@given(st.sampled_from(["unreachable", "wrong", "busy", "refused"]), st.integers(0, 10**6), st.integers(0, 2**63))
def test_waits_are_bounded_and_drawn_from_the_whole_range(outcome, tries, drawn):
    """No wait is zero or longer than its longest, and a fleet that said no is asked seldom."""
    wait = e.delay(outcome, tries, drawn)
    assert 1 <= wait <= (e.MOST if outcome in e.LATER else e.SLOW_MOST)
    longest = e.FIRST if outcome in e.LATER else e.SLOW_FIRST
    assert {e.delay(outcome, 0, n) for n in range(longest)} == set(range(1, longest + 1))


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40))
def test_no_time_is_admitted_that_goes_back(time, floor, begins, ends):
    """Whatever a server says: not before the floor, and within the life of the certificate it showed."""
    if floor <= time and begins <= time <= ends:
        assert e.admitted(time, floor, begins, ends) == time
    else:
        with pytest.raises(Refused, match="enrolment server"):
            e.admitted(time, floor, begins, ends)


@given(st.integers(0, 2**33), st.integers(0, 2**33), st.integers(0, 2**30))
def test_a_clock_before_the_floor_is_never_believed(wall, known, uptime):
    """Neither the wrong clock nor the floor stands in for the time: something that ended since would count again."""
    time = e.believed(Clock(wall=wall, boot=1, uptime=uptime), known, None)
    assert time in (0, wall)
    assert time == 0 or time >= known
