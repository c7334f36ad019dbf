"""What time it is, as three facts of which none is trusted alone."""

from .record import Record


class Clock(Record):
    """One look: wall (Unix seconds), boot (count of starts), uptime (seconds since boot, suspend included)."""

    __slots__ = ("boot", "uptime", "wall")
    wall: int
    boot: int
    uptime: int


def floor(clock: Clock, known: int) -> int:
    """Return the wall time, never before the latest moment already known (a device without a battery wakes in 1970)."""
    return clock.wall if clock.wall > known else known
