"""Retention while a collector runs: readings over their time go without anybody thinking of it."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from agent.core.errors import Unreachable
from provisioning.collector.store import Store

DAY = 86400
EVERY = 3600.0  # seconds between two looks


class Retention:
    """Keeps each purpose as many days as `spans` says; of several workers over a store each may do so. `turn` it."""

    def __init__(
        self, store: Store, spans: Mapping[str, int], say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._store, self._spans, self._say, self._clock = store, dict(spans), say, clock
        self._due = clock()

    def turn(self) -> None:
        """Forget what is over its time, once an hour; say how much, and nothing when it was none."""
        if self._clock() < self._due or not self._spans:
            return
        self._due = self._clock() + EVERY
        now, gone = int(time.time()), {}
        with suppress(Unreachable):  # the next look finds it
            for purpose, days in sorted(self._spans.items()):
                with self._store.transaction():
                    gone[purpose] = self._store.forget(now - days * DAY, purpose=purpose)
        if any(gone.values()):
            told = ", ".join(f"{purpose} {count}" for purpose, count in gone.items() if count)
            self._say(f"records over their time were forgotten: {told}")
