"""Noise that is added on purpose, so that no single reading can be told from what leaves (differential privacy).

The discrete Laplace distribution, sampled exactly: whole numbers only, from random bits that are handed in, by the
algorithm of Canonne, Kamath and Steinke (2020). Floating point would leave holes in it through which a value shows.

What `epsilon` bounds for each figure that leaves: whether one reading was among the others, and what it said. That
there was any reading in the bucket at all is not hidden.
"""

from .record import replace
from .telemetry import Message, clamped, stepped
from .window import BETWEEN, close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .telemetry import TelemetryField
    from .window import Window

    Bits = Callable[[int], int]
    """Returns so many random bits as a whole number."""

FIGURES = ("count", "mean")  # those with a use under noise: the least and the most of a bucket are single readings


def sensitivity(field: "TelemetryField", kind: str) -> int:
    """Return by how many steps one reading can move a figure at most ("": the reading itself).

    Rounded up twice, as a mean is rounded twice, each time by half and down: so no tie moves it further.
    """
    if kind == "count":
        return 1
    _, _, least = field.noise
    reach = field.high - field.low
    if kind == "mean":
        reach = -(-reach // least)
    return -(-reach // field.step)


def scale(field: "TelemetryField", kind: str) -> "tuple[int, int]":
    """Return (t, s): a noise of z steps has a probability proportional to exp(-|z| * s / t)."""
    above, below, _ = field.noise
    return below * sensitivity(field, kind), above


def budget(field: "TelemetryField") -> "tuple[int, int]":
    """Return the epsilon that all that leaves of one bucket comes to, as a fraction."""
    above, below, _ = field.noise
    return above * (len(field.keep) or field.most), below


def figures(field: "TelemetryField", window: "Window", bits: "Bits") -> "tuple[Message, ...]":
    """Return the figures of a bucket, with noise where the field declares it."""
    if not field.noise:
        return close(field, window)
    return tuple([blurred(field, message, bits) for message in bounded(field, window)])


def bounded(field: "TelemetryField", window: "Window") -> "tuple[Message, ...]":
    """Return the figures of a bucket so that one reading moves them by their sensitivity at most.

    A mean of fewer readings than declared is filled up with the middle of the range.
    """
    short = max(0, field.noise[2] - window.count)
    count, total = window.count + short, window.total + short * ((field.low + field.high) // 2)
    full = replace(window, count=1, total=(2 * total + count) // (2 * count))
    counts = [m for m in close(field, window) if m.name.endswith("count")]
    return tuple(counts + [m for m in close(field, full) if not m.name.endswith("count")])


def blurred(field: "TelemetryField", message: Message, bits: "Bits") -> Message:
    """Add noise to one figure, or to a reading; it keeps to its range and steps all the same."""
    kind = message.name[len(field.name) + len(BETWEEN) :]
    drawn = laplace(bits, *scale(field, kind))
    if kind == "count":
        return replace(message, value=max(0, message.value + drawn))
    return replace(message, value=stepped(field, clamped(field, message.value + drawn * field.step)))


def laplace(bits: "Bits", t: int, s: int) -> int:
    """Draw from the discrete Laplace distribution of scale t/s, exactly."""
    while True:
        start = uniform(bits, t)
        if not one_in_e(bits, start, t):
            continue
        turns = 0
        while one_in_e(bits, 1, 1):
            turns += 1
        size = (start + t * turns) // s
        negative = bits(1)
        if size or not negative:  # else zero would be drawn twice
            return -size if negative else size


def one_in_e(bits: "Bits", above: int, below: int) -> bool:
    """Say yes with the probability exp(-above/below), for a fraction of at most one."""
    count = 1
    while uniform(bits, below * count) < above:
        count += 1
    return count % 2 == 1


def uniform(bits: "Bits", count: int) -> int:
    """Draw one of the numbers below `count`, each as likely: too large a draw is thrown away."""
    length = 0
    while 1 << length < count:
        length += 1
    while True:
        drawn = bits(length) if length else 0
        if drawn < count:
            return drawn
