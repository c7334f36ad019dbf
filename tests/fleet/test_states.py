"""The table of what a device can be and what can follow: checked whole."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import Refused
from provisioning.fleet import states


@given(st.lists(st.sampled_from(states.EVENTS), max_size=12))
def test_nothing_happens_outside_the_table(events: list[str]):
    """Any series of events ends in a state of the table or is refused; only a person leads out of quarantine."""
    state = before = states.PLANNED
    for event in events:
        try:
            following = states.after(state, event, before)
        except Refused:
            assert not states.possible(state, event)
            continue
        assert following in states.STATES
        assert state != states.RETIRED
        if state == states.QUARANTINED and following not in {states.QUARANTINED, states.RETIRED}:
            assert event == states.RELEASE and following == before
        before = state if state != following == states.QUARANTINED else before
        state = following


def test_every_state_can_be_reached_and_left():
    """No state is out of reach, and only `retired` has no way out."""
    reached = {states.PLANNED, *states.TABLE.values()}
    assert reached == set(states.STATES)
    assert {state for state, _ in states.TABLE} == reached - {states.RETIRED}
    assert all(event in states.EVENTS for _, event in states.TABLE)
