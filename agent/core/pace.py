"""When readings leave and how many: neither the moment of a measurement nor a burst of them shows more than was said.

A purpose whose longest bucket is above two minutes is held: what was measured within a bucket leaves after the end of
it, at a moment that is the device's own but the same for every bucket. When in it something was measured cannot show.
"""

import hashlib

from .record import Record, replace
from .window import BETWEEN, KEEPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .telemetry import Message, TelemetryField

AT_ONCE = 120  # seconds: purposes with no longer bucket are not held
SPREAD = 300  # seconds over which devices spread what leaves at the end of a bucket
REMEMBERED = 32  # buckets of a field in which readings are counted


class Taken(Record):
    """How many readings of a field were taken in which bucket (its beginning); up to `floor` none is taken any more."""

    __slots__ = ("counts", "floor")
    counts: "dict[int, int]"
    floor: int


NONE_TAKEN = Taken(counts={}, floor=-1)


def take_one(field: "TelemetryField", taken: Taken, at: int) -> "Taken | None":
    """Count one reading into its bucket; None when the bucket has as many as declared, or is too long ago to know."""
    start = at // field.bucket * field.bucket
    count = taken.counts.get(start, 0)
    if count >= field.most or start <= taken.floor:
        return None
    counts, floor = dict(taken.counts), taken.floor
    counts[start] = count + 1
    if len(counts) > REMEMBERED:
        floor = min(counts)
        counts.pop(floor)
    return replace(taken, counts=counts, floor=floor)


def span_of(fields: "Sequence[TelemetryField]", purpose: str) -> int:
    """Return the span in which what belongs to a purpose leaves: its longest bucket; 0 when it leaves at once."""
    longest = max([field.bucket for field in fields if field.purpose == purpose] + [0])
    return longest if longest > AT_ONCE else 0


def phase(span: int, device: str, purpose: str) -> int:
    """Return the device's own moment after the end of a span, in seconds: at least one, and the same every time."""
    drawn = hashlib.sha256(("privet pace 1 %s %s" % (device, purpose)).encode()).digest()
    return 1 + int.from_bytes(drawn[:4], "big") % min(span - 1, SPREAD)


def due(span: int, offset: int, now: int, figures: bool) -> int:
    """Return when what is sealed now may leave: after its span; figures, whose bucket is over, in this one."""
    start = now // span * span
    return start + offset if figures and now <= start + offset else start + span + offset


def may_leave(span: int, moment: int, now: int) -> bool:
    """Say whether the moment has come, also when the clock was set far back since it was reckoned."""
    return moment <= now or moment > now + 2 * span + SPREAD


def figures_only(messages: "Sequence[Message]") -> bool:
    """Say whether messages are figures of buckets that are over, and nothing else."""
    tails = [message.name.split(BETWEEN)[1:] for message in messages]
    return bool(tails) and all([len(tail) == 1 and tail[0] in KEEPS for tail in tails])
