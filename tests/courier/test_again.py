"""When links try again: a fleet that lost its broker is spread out, however long the broker was away."""

from collections import Counter

import pytest

from agent.courier.again import Again
from agent.courier.link import PACE

FLEET = 1000


def returns(fleet: list[Again], away: float, places: int = 1) -> list[float]:
    """Return when each is back, in seconds after a broker came back that all had lost at 0."""
    found = []
    for one in fleet:
        at = one.lost(0.0, places)
        while at < away:
            at = one.failed(at, places)
        found.append(at - away)
    return found


def crowding(moments: list[float]) -> float:
    """Return how often the mean of a second its fullest has, from the broker's return to the last link's."""
    return max(Counter(map(int, moments)).values()) / (len(moments) / max(1.0, *moments))


class Growing(Again):
    """The twin: full jitter over a range that doubles, as most clients do it."""

    def lost(self, now: float, places: int) -> float:
        """Begin with the small range."""
        return self.failed(now, places)

    def failed(self, now: float, places: int) -> float:
        """Forget the link's own moment."""
        due = super().failed(now, places)
        self._moment = None
        return due


@pytest.mark.parametrize("away", [0.2, 1.0, 5.0, 10.0, 60.0, 3600.0])
@pytest.mark.parametrize("places", [1, 3])
def test_a_fleet_comes_back_spread_out(away: float, places: int):
    """Its fullest second has less than twice the mean, and the last is there within the longest delay."""
    moments = returns([Again(PACE.first, PACE.most) for _ in range(FLEET)], away, places)
    assert crowding(moments) < 2
    assert min(moments) >= 0 and max(moments) <= PACE.most / 1000 / places


def test_growing_ranges_crowd():
    """The twin: after five seconds without a broker the first second brings far more than twice the mean."""
    assert crowding(returns([Growing(PACE.first, PACE.most) for _ in range(FLEET)], 5.0)) > 3


def test_a_link_that_had_no_broker_yet_tries_soon_and_then_ever_later():
    """The ranges double up to the longest; from then on the link has a moment of its own as well."""
    delays = []
    for _ in range(200):
        one, now = Again(1000, 20000), 0.0
        assert 0 <= one.begin(now) <= 1
        row = []
        for _ in range(8):
            due = one.failed(now, 1)
            row.append(due - now)
            now = due
        delays.append(row)
    most = [max(column) for column in zip(*delays, strict=True)]
    assert all(limit / 2 < found <= limit for limit, found in zip([1, 2, 4, 8, 16, 20], most, strict=False))
    assert all(row[6:] == pytest.approx([20, 20]) for row in delays)


def test_a_lost_session_that_was_short_keeps_the_moment():
    """A broker that takes links and throws them out again at once is not asked more often than one that is away."""
    one = Again(1000, 20000)
    own = one.lost(100.0, 1)
    assert one.failed(own + 3.0, 1) == pytest.approx(own + 20)
    assert one.failed(own + 65.0, 1) == pytest.approx(own + 80)


def test_several_brokers_are_asked_in_turn_within_the_same_time():
    """With three places the next is asked after a third of the longest delay."""
    one = Again(1000, 21000)
    own = one.lost(0.0, 3)
    assert own <= 7
    assert one.failed(own, 3) == pytest.approx(own + 7)


def test_no_delay_at_all_is_possible():
    """A pace of nothing tries at once, each time."""
    one = Again(0, 0)
    assert [one.begin(5.0), one.failed(5.0, 1), one.lost(5.0, 1), one.failed(6.0, 1)] == [5.0, 5.0, 5.0, 6.0]
