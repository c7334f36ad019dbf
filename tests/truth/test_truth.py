"""The truth table: what a device really does, what we say of it, and what Lynis and OpenSCAP say of the same state."""

import pytest

from tests.device.lab import Lab
from tests.device.verdicts import ENFORCE, verdicts
from tests.truth import peers, table
from tests.truth.behaviour import BEHAVIOURS, Place
from tests.truth.states import PRELUDE, State, loaded

STATES = loaded()
NAMES = [f"{state.area}: {state.name}" for state in STATES]


def ours(place: Place, state: State) -> tuple[str, str]:
    """Ask a fresh process of ours: open when a setting is loosened; else unknown when one is."""
    found = verdicts(place.device, *state.settings)
    causes = " | ".join(f"{name}: {one.status} {one.cause}" for name, one in found.items())
    said = {one.status for one in found.values()}
    if "loosened" in said:
        return peers.OPEN, causes
    return (peers.SHUT if said <= {"ok", "absent"} else peers.UNKNOWN), causes


def script(place: Place, text: str) -> None:
    """Run one of a state's scripts on its device."""
    place.device.must(["sh", "-c", PRELUDE + text])


@pytest.mark.parametrize("state", STATES, ids=NAMES)
def test_truth(lab: Lab, state: State) -> None:
    """What we say of the state is what trying the door shows, now or after the next start; unknown is no mistake."""
    ready, tried = BEHAVIOURS[state.behaviour]
    with lab.device() as device:
        place = Place(lab, device, state.where)
        device.write("/run/enforce.py", ENFORCE)
        if state.before:
            script(place, state.before)
        ready(place)
        script(place, state.do)
        said, cause = ours(place, state)
        row = table.kept(state)
        if row is None:
            row = {"lynis": peers.lynis(device, state.lynis), "openscap": peers.openscap(device, state.openscap)}
            table.keep(state, row)
        opened = tried(place)
        if not opened and state.again:
            script(place, state.again)
            opened = tried(place)
        if place.neighbour:
            place.neighbour.close()
    assert opened == state.open, "the state did not come about"
    table.put(state, {**row, "open": opened, "ours": said, "cause": cause})
    assert said in (peers.UNKNOWN, peers.OPEN if opened else peers.SHUT), cause


def test_the_table_is_wide_enough() -> None:
    """At least 40 states in all areas, and in each area some are open and some are shut."""
    assert len(STATES) >= 40
    assert {state.area for state in STATES} >= {"accounts", "firewall", "kernel", "mosquitto", "network", "ssh", "sudo"}
    for area in {state.area for state in STATES}:
        assert {state.open for state in STATES if state.area == area} == {True, False}, area


def test_a_test_that_did_not_run_is_no_pass() -> None:
    """What a scanner skipped or could not settle is unknown; only a finished test without a mark is a pass."""
    asked = next(state.lynis for state in STATES if state.area == "ssh")
    assert asked.ids and asked.marks
    assert peers.judged("tests_executed=", [], asked) == peers.UNKNOWN
    assert peers.judged("", asked.ids, asked) == peers.SHUT
    assert peers.judged(f"x\n{asked.marks[0]}\n", [], asked) == peers.OPEN
