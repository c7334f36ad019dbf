"""Readings of which only the figures of a bucket leave: counted in memory until their bucket is over.

Weighed: keeping what is counted on the disk at every reading (it would write a hundred times what leaves), or losing
at most one bucket of them when power goes. An orderly end closes what is open, so that its figures are of fewer
readings.
"""

from collections.abc import Callable, Iterable

from agent.core.noise import figures
from agent.core.telemetry import Message, Sample, TelemetryField
from agent.core.window import Window, fold, left, over, start_of


class Windows:
    """The open buckets; `bits(count)` draws random bits, for noise."""

    def __init__(self, bits: Callable[[int], int]) -> None:
        self.bits = bits
        self.open: dict[tuple[str, int], tuple[TelemetryField, Window]] = {}

    def count(self, field: TelemetryField, sample: Sample) -> None:
        """Count one reading; BadInput when it is no number, and then nothing is counted."""
        place = (field.name, start_of(field, sample.at))
        known = self.open.get(place)
        self.open[place] = (field, fold(field, known[1] if known else None, sample))

    def closed(self, now: int) -> list[Message]:
        """Take the figures of all buckets that are over."""
        return self.take(place for place, (field, window) in self.open.items() if over(field, window, now))

    def take(self, places: Iterable[tuple[str, int]]) -> list[Message]:
        """Close buckets and take their figures."""
        return [message for place in sorted(places) for message in figures(*self.open.pop(place), self.bits)]

    def left(self, now: int) -> float:
        """Return the seconds until the first bucket is over, infinity while none is open."""
        return min((float(left(field, window, now)) for field, window in self.open.values()), default=float("inf"))

    def forget(self, purpose: str) -> None:
        """Drop what was counted for a purpose."""
        self.open = {place: pair for place, pair in self.open.items() if pair[0].purpose != purpose}
