"""Records on their way in: as far as they were read, and those that came before their key record.

The latter are held in memory and never acknowledged, so the device has them too.
"""

import time
from collections.abc import Callable

from provisioning.collector.open import Envelope, EpochKeys, Gap, Place
from provisioning.collector.store import PACK

EARLY = 2000  # records
RIPENING = 0.2  # seconds between two looks whether a key record they wait for came to another collector

Epoch = tuple[Place, int]


class Look:
    """A message as far as it was read: its envelope; with which keys it was opened, and what was found in it."""

    __slots__ = ("envelope", "gap", "keys", "kind", "odd")

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope
        self.keys: EpochKeys | None = None
        self.kind = PACK
        self.gap: Gap | None = None
        self.odd = ""  # why its content was not understood


class Early:
    """What waits for its key."""

    def __init__(self) -> None:
        self.held: dict[Epoch, list[Envelope]] = {}
        self.asked = 0.0  # when the store was last asked for what they wait for

    def keep(self, envelope: Envelope) -> bool:
        """Hold one more; True when there were too many and those before it were let go of."""
        full = sum(len(held) for held in self.held.values()) >= EARLY
        if full:
            self.held.clear()
        self.held.setdefault((envelope.place, envelope.epoch), []).append(envelope)
        return full

    def take(self, place: Place, epoch: int) -> list[Envelope]:
        """Take what waited for a key."""
        return self.held.pop((place, epoch), [])

    def ripe(self, known: Callable[[Place, int], bool]) -> list[Envelope]:
        """Take what waited for keys that are known by now; asked not too often."""
        if time.monotonic() - self.asked < RIPENING:
            return []
        self.asked = time.monotonic()
        return [one for epoch in list(self.held) if known(*epoch) for one in self.held.pop(epoch)]

    def drop(self, over: Callable[[Place], bool]) -> None:
        """Let go of what is of no start any more."""
        self.held = {epoch: held for epoch, held in self.held.items() if not over(epoch[0])}
