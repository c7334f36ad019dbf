"""Readings that did not leave, or not as they were measured: counted by field and reason, never with their values."""

from .cell import reduced
from .errors import BadInput, NotConsented, UnknownField
from .telemetry import parse_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .errors import PrivetError
    from .telemetry import Message, Sample, TelemetryField

UNDECLARED = "undeclared"
UNCONSENTED = "unconsented"
UNREADABLE = "unreadable"
OUT_OF_RANGE = "out_of_range"
OVER_RATE = "over_rate"
SAID = {
    UNDECLARED: "of fields that are not declared",
    UNCONSENTED: "without your consent",
    UNREADABLE: "that could not be read",
    OVER_RATE: "over the declared number in a span",
    OUT_OF_RANGE: "beyond the declared range, sent as its end",
}
NOBODY = ""  # the field of what is not declared: its name is another's text, and is not kept

if TYPE_CHECKING:
    Count = tuple[str, str, int]  # field, reason, how many


def refused(
    error: "PrivetError",
    fields: "Sequence[TelemetryField]",
    samples: "Sequence[Sample]",
    agreed: "Callable[[str], bool]",
) -> "list[Count]":
    """Say for a request that was refused as a whole which of its readings were the cause, and why."""
    known = {field.name: field for field in fields}
    if isinstance(error, UnknownField):
        strange = [sample for sample in samples if sample.name not in known]
        return [(NOBODY, UNDECLARED, len(strange))]
    found = [(known[sample.name], sample) for sample in samples if sample.name in known]
    if isinstance(error, NotConsented):
        return [(field.name, UNCONSENTED, 1) for field, _ in found if not agreed(field.purpose)]
    if isinstance(error, BadInput):
        return [(field.name, UNREADABLE, 1) for field, sample in found if not readable(field, sample)]
    return []


def readable(field: "TelemetryField", sample: "Sample") -> bool:
    """Say whether a reading is what its field takes."""
    try:
        reduced(field, sample)
    except BadInput:
        return False
    return True


def beyond(field: "TelemetryField", sample: "Sample", message: "Message") -> bool:
    """Say whether a number lay outside the declared range; only one that is left near an end is read again."""
    if field.cell or field.low + field.step < message.value < field.high - field.step:
        return False
    return not field.low <= parse_number(sample.number, field.scale) <= field.high
