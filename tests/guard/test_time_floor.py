"""No clock that ran ahead locks honest policies out for ever, and none that was set back brings an old one to life."""

from typing import Any

import pytest

from agent.core.clock import Clock, Least
from agent.core.errors import ExpiredPolicy
from agent.guard.rules import Rules
from tests.guard.conftest import Kept

DAY = 86400
YEARS = 20 * 365 * DAY


class Believing(Rules):
    """The known-bad twin: whatever the clock said at a sweep has surely come."""

    def least(self, clock: Clock) -> Least:
        """Take the clock's word for good."""
        known = super().least(clock)
        return Least(wall=max(known.wall, clock.wall), boot=clock.boot, uptime=clock.uptime)


def fresh(kept: Kept, until: int) -> bytes:
    """Sign the next policy, in force until then."""
    return kept.signed(lambda table: table.update(sequence=2, issued=kept.now, expires=until))


def twin(kept: Kept) -> None:
    """Put the twin in place of the guard's own."""
    rules = kept.house.rules
    made = Believing(rules.store, rules.verifier, rules.settings, rules.anchor)
    made.policy = rules.policy
    kept.house.rules = kept.house.guard.rules = made


def ahead(kept: Kept) -> None:
    """Have the clock run years ahead through many looks at everything, then be right again."""
    kept.system.wall += YEARS
    for _ in range(12):
        kept.system.tick(300)
        kept.turn()
    with pytest.raises(ExpiredPolicy):  # the fault: meanwhile it is believed
        kept.house.take_policy(fresh(kept, kept.now + 365 * DAY))
    kept.system.wall -= YEARS


@pytest.mark.parametrize("restarts", [False, True], ids=["runs on", "starts again"])
def test_a_clock_years_ahead_is_forgotten_once_it_is_right(kept: Kept, restarts: bool) -> None:
    """An honest policy is taken afterwards, and what the guard calls now is the clock again."""
    ahead(kept)
    if restarts:
        kept.reboot()
    assert kept.house.rules.now(kept.system.clock()) == kept.system.wall
    kept.house.take_policy(fresh(kept, kept.now + 365 * DAY))
    assert kept.house.rules.policy is not None and kept.house.rules.policy.sequence == 2


def test_the_twin_refuses_it_for_ever(kept: Kept) -> None:
    """What the clock said once stays in the state, and no honest date passes it."""
    twin(kept)
    ahead(kept)
    with pytest.raises(ExpiredPolicy):
        kept.house.take_policy(fresh(kept, kept.now + 365 * DAY))


def test_a_state_that_an_earlier_version_led_astray_gets_well(kept: Kept) -> None:
    """The old record of what the clock said is no longer asked."""
    assert kept.store is not None
    kept.store.put({"floor": kept.now + YEARS})
    kept.reboot()
    kept.house.take_policy(fresh(kept, kept.now + 365 * DAY))


@pytest.mark.parametrize("wall", ["1970", "back"])
def test_a_clock_set_back_brings_no_old_policy_to_life(kept: Kept, wall: str) -> None:
    """Forty days of running are surely over, also after a restart, whatever the clock says then."""
    for _ in range(40):
        kept.system.tick(DAY)
        kept.turn()
    kept.system.wall = 5 if wall == "1970" else kept.now
    kept.reboot()
    with pytest.raises(ExpiredPolicy):
        kept.house.take_policy(fresh(kept, kept.now + 39 * DAY))
    kept.house.take_policy(fresh(kept, kept.now + 41 * DAY))


def test_the_record_is_kept_seldom(kept: Kept) -> None:
    """A day of looks keeps it once an hour at most; it is not written at each of them."""
    seen: set[Any] = set()
    for _ in range(288):
        kept.system.tick(300)
        kept.house.rules.keep_time(kept.system.clock())
        assert kept.store is not None
        seen.add(tuple(kept.store.get("least")))
    assert 20 <= len(seen) <= 25
