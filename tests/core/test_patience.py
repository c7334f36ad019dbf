"""How long a sender waits for an answer: by how long answers take, in bounds, and so that a late broker recovers."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from agent.core.patience import FIRST, LONGEST, Patience

DELAYS = st.lists(st.integers(0, 10_000), max_size=50)


class Fixed(Patience):
    """The twin: waits as long the first time as if nothing had been learned."""

    def answered(self, record: tuple[int, int], now: int) -> None:
        self.timed, self.seconds = None, FIRST


@given(DELAYS)
def test_in_bounds(delays: list[int]):
    """Whatever was measured, neither hasty nor for ever."""
    patience, now = Patience(), 0
    for number, delay in enumerate(delays):
        patience.sent((1, number), now)
        now += delay
        patience.answered((1, number), now)
        assert FIRST <= patience.seconds <= LONGEST


@given(st.integers(0, LONGEST - 1), DELAYS)
def test_it_learns(delay: int, before: list[int]):
    """Answers that take equally long for a while are waited for, and not much longer."""
    patience, now = Patience(), 0
    for number, took in enumerate((*before, *[delay] * 100)):
        patience.sent((1, number), now)
        now += took
        patience.answered((1, number), now)
    assert max(FIRST, delay) <= patience.seconds <= max(FIRST, delay + 8)


def test_what_was_repeated_is_not_timed():
    """After a repetition the wait stays as long as it has become, until an answer to something new was timed."""
    patience = Patience()
    patience.sent((1, 1), 0)
    patience.ended()
    patience.answered((1, 1), 9)
    assert patience.seconds == 2 * FIRST
    patience.sent((1, 2), 10)
    patience.answered((1, 1), 10)
    assert patience.seconds == 2 * FIRST, "an answer to an earlier one"
    patience.answered((1, 2), 11)
    assert patience.seconds == FIRST


def test_waiting_in_vain_doubles_it():
    """Nothing is let go of: up to five minutes; a new connection: as usual."""
    patience = Patience()
    for wanted in (10, 20, 40, 80, 160, 300, 300):
        patience.ended()
        assert patience.seconds == wanted
    patience.anew()
    assert patience.seconds == FIRST


def crowded(kind: type[Patience], senders: int = 1000, rate: int = 100, seconds: int = 600) -> tuple[int, int]:
    """Let many senders, one record at a time each, share what answers so many a second; return sent, of that repeated.

    Only the last half of the time is counted: what was learned by then.
    """
    patience = [kind() for _ in range(senders)]
    number, due = [0] * senders, [0] * senders
    line: deque[tuple[int, int]] = deque()
    sent = repeated = 0
    for now in range(seconds):
        for _ in range(min(rate, len(line))):
            who, record = line.popleft()
            if record == number[who]:
                patience[who].answered((1, record), now)
                number[who] += 1
                due[who] = 0
        for who, wait in enumerate(patience):
            fresh = due[who] == 0
            if fresh:
                wait.sent((1, number[who]), now)
            elif now >= due[who]:
                wait.ended()
                repeated += now >= seconds // 2
            else:
                continue
            line.append((who, number[who]))
            sent += now >= seconds // 2
            due[who] = now + wait.seconds
    return sent, repeated


def test_a_late_answer_is_not_made_later():
    """A thousand senders at what answers a hundred a second: they wait; the twin asks for most of it twice."""
    sent, repeated = crowded(Patience)
    assert repeated <= sent // 50
    sent, repeated = crowded(Fixed)
    assert repeated >= sent // 3
