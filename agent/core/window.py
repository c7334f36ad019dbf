"""Readings that leave the device only as figures of a whole bucket of time: how many, the mean, the least, the most.

So neither when within it something was measured, nor how often, nor a single reading leaves (unless that is what the
figures say: the least and the most of two are both). Whole numbers only.
"""

from .errors import BadInput
from .record import Record, replace
from .telemetry import Message, Sample, TelemetryField, clamped, parse_number, stepped

KEEPS = ("count", "max", "mean", "min")
BETWEEN = "/"  # in the name of a figure: temperature/mean


class Window(Record):
    """One field's readings in one bucket: when it begins (Unix seconds), how many, their sum, the least, the most."""

    __slots__ = ("count", "high", "low", "name", "start", "total")
    name: str
    start: int
    count: int
    total: int
    low: int
    high: int


def start_of(field: TelemetryField, at: int) -> int:
    """Return when the bucket of a time begins."""
    return at // field.bucket * field.bucket


def fold(field: TelemetryField, window: "Window | None", sample: Sample) -> Window:
    """Count one reading into its bucket; `window` is what the bucket holds so far, None when it is the first."""
    value, start = clamped(field, parse_number(sample.number, field.scale)), start_of(field, sample.at)
    if window is None:
        return Window(name=field.name, start=start, count=1, total=value, low=value, high=value)
    if (window.name, window.start) != (field.name, start):
        raise BadInput("a reading was counted into another bucket than its own; please report it")
    return replace(
        window,
        count=window.count + 1,
        total=window.total + value,
        low=value if value < window.low else window.low,
        high=value if value > window.high else window.high,
    )


def over(field: TelemetryField, window: Window, now: int) -> bool:
    """Say whether a bucket is over, also when the clock was set far back since it began."""
    return not window.start - field.bucket <= now < window.start + field.bucket


def left(field: TelemetryField, window: Window, now: int) -> int:
    """Return the seconds until a bucket is over."""
    return 0 if over(field, window, now) else window.start + field.bucket - now


def close(field: TelemetryField, window: Window) -> "tuple[Message, ...]":
    """Return the figures of a bucket that the field declares, rounded to its step; a count is exact."""
    made = []
    for kind in field.keep:
        if kind == "count":
            value, scale, unit = window.count, 0, "count"
        else:
            value = window.low if kind == "min" else window.high if kind == "max" else mean(window.total, window.count)
            value, scale, unit = stepped(field, value), field.scale, field.unit
        name = field.name + BETWEEN + kind
        made.append(Message(name=name, unit=unit, purpose=field.purpose, scale=scale, value=value, at=window.start))
    return tuple(made)


def mean(total: int, count: int) -> int:
    """Return the mean as a whole number, half away from zero."""
    sign = -1 if total < 0 else 1
    return sign * ((2 * sign * total + count) // (2 * count))
