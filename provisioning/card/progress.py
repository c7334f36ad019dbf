"""How far one card is; a writer counts, whoever shows it looks."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 64  # counts that a rate is taken over


class Progress:
    """Stage, bytes done and to do, and the rate of late. One thread writes, others read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.stage, self.done, self.total = "wait", 0, 0
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._entered = clock()
        self._late: deque[tuple[float, int]] = deque(maxlen=WINDOW)

    def enter(self, stage: str, total: int) -> None:
        """Begin a stage of so many bytes; 0 when it is not counted."""
        now = self._clock()
        self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self._entered
        self.stage, self.done, self.total, self._entered = stage, 0, total, now
        self._late.clear()
        self._late.append((now, 0))

    def add(self, count: int) -> None:
        """Count bytes."""
        self.done += count
        self._late.append((self._clock(), self.done))

    def rate(self) -> float:
        """Return bytes in a second, of late; 0 while unknown."""
        late = list(self._late)
        if len(late) < 2:
            return 0.0
        (began, first), (ended, last) = late[0], late[-1]
        return (last - first) / (ended - began) if ended > began else 0.0

    def left(self) -> float | None:
        """Return how many seconds this stage will still take; None while unknown."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate and self.total else None
