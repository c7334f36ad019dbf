"""What time it is, as three facts of which none is trusted alone.

A clock that says too much is as wrong as one that says 1970, and what it once said must not count for ever: one that
ran years ahead for a day would refuse every honest policy after it. So the time that surely has come moves only by
what a signature says, and by the seconds that the device has run since.
"""

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


DRIFT = 1000  # one second in so many is not counted: no quartz runs as fast
KEEP = 3600  # seconds after which it is worth keeping


class Least(Record):
    """The earliest that it can be: `wall` was true at `uptime` of start number `boot`."""

    __slots__ = ("boot", "uptime", "wall")
    wall: int
    boot: int
    uptime: int


def carried(known: Least, sure: int, clock: Clock) -> Least:
    """Carry it on to now; `sure` is what a signature says. What lies between two starts is not known: not counted."""
    ran = clock.uptime - known.uptime if clock.boot == known.boot else 0
    wall = known.wall + (ran - (ran + DRIFT - 1) // DRIFT if ran > 0 else 0)
    return Least(wall=wall if wall > sure else sure, boot=clock.boot, uptime=clock.uptime)


def worth(known: Least, now: Least) -> bool:
    """Say whether it is to be kept: it moved, or is counted on from another start."""
    return known.boot != now.boot or now.wall - known.wall >= KEEP
