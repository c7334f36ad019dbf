"""Telemetry: what may be measured, for what, how precisely; and the minimising of each reading before anything else.

Numbers are whole: a value is an integer in units of 10^-scale, so 21.5 at scale 1 is 215.
"""

from .errors import BadInput, UnknownField
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_DIGITS = 15


class Recipient(Record):
    """Who can open what is sealed to them: id, name, country (ISO 3166), public key (HPKE ML-KEM-768 + X25519)."""

    __slots__ = ("country", "id", "key", "name")
    id: str
    name: str
    country: str
    key: bytes


class Purpose(Record):
    """Why something is collected, on what legal basis, who gets it, and how long they keep it (days).

    `pseudonym`: where they hand it on, a device has another name every so many seconds; 0: nothing is promised.
    """

    __slots__ = ("basis", "id", "pseudonym", "recipients", "retention_days", "text", "title")
    id: str
    title: str
    text: str
    basis: str
    recipients: "tuple[str, ...]"
    retention_days: int
    pseudonym: int


class TelemetryField(Record):
    """One declared datum; `step`, `low` and `high` are in units of 10^-scale, `bucket` in seconds.

    `keep` are the figures of a bucket that leave (see `window`); none: every reading leaves, minimised. `cell` is the
    size in metres that a place is reduced to (see `cell`); 0: the field is a number.
    `most` readings of a bucket are taken, 0: any number. `noise` is what is added (see `noise`): epsilon as a fraction,
    and how many readings a mean is of at least; (): nothing.
    """

    __slots__ = (
        "bucket",
        "cell",
        "high",
        "keep",
        "low",
        "most",
        "name",
        "noise",
        "purpose",
        "scale",
        "step",
        "title",
        "unit",
    )
    name: str
    title: str
    unit: str
    purpose: str
    scale: int
    step: int
    low: int
    high: int
    bucket: int
    keep: "tuple[str, ...]"
    cell: int
    most: int
    noise: "tuple[int, ...]"


class Sample(Record):
    """What an application measured: field name, the number as it was written, wall time in Unix seconds."""

    __slots__ = ("at", "name", "number")
    name: str
    number: str
    at: int


class Message(Record):
    """What is left of a sample after minimising: only `minimise()` makes one, and only messages are sealed."""

    __slots__ = ("at", "name", "purpose", "scale", "unit", "value")
    name: str
    unit: str
    purpose: str
    scale: int
    value: int
    at: int


def parse_number(text: str, scale: int) -> int:
    """Read a decimal number ("-21.537") as a whole number of 10^-scale, rounding half away from zero."""
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
    whole, _, part = digits.partition(".")
    if not whole or len(whole) + len(part) > MAX_DIGITS or (not part and "." in digits):
        raise BadInput("%s is no plain decimal number; write it like 21.5" % show(text))
    for letter in whole + part:
        if letter not in "0123456789":
            raise BadInput("%s is no plain decimal number; write it like 21.5" % show(text))
    kept = part[:scale]
    while len(kept) < scale:
        kept += "0"
    number = int(whole + kept)
    if len(part) > scale and part[scale] >= "5":
        number += 1
    return sign * number


def show(text: str) -> str:
    """Quote a piece of foreign text briefly and harmlessly."""
    return repr(text[:24]) + ("…" if len(text) > 24 else "")


def write_number(value: int, scale: int) -> str:
    """Write a whole number of 10^-scale as a decimal: (215, 1) is "21.5"."""
    digits = str(value if value >= 0 else -value)
    while len(digits) <= scale:
        digits = "0" + digits
    whole = digits[: len(digits) - scale]
    return ("-" if value < 0 else "") + whole + ("." + digits[len(digits) - scale :] if scale else "")


def declared(fields: "tuple[TelemetryField, ...]", name: str) -> TelemetryField:
    """Find the declaration of a field, or refuse: what is not declared cannot be sent."""
    for field in fields:
        if field.name == name:
            return field
    known = ", ".join([f.name for f in fields]) or "none"
    raise UnknownField(
        "%s is not declared by this device's profile, so it is not sent; declared: %s" % (show(name), known)
    )


def minimise(field: TelemetryField, sample: Sample) -> Message:
    """Keep no more than was declared: clamp to the range, round to the step, round the time down to its bucket."""
    return Message(
        name=field.name,
        unit=field.unit,
        purpose=field.purpose,
        scale=field.scale,
        value=stepped(field, clamped(field, parse_number(sample.number, field.scale))),
        at=sample.at // field.bucket * field.bucket,
    )


def clamped(field: TelemetryField, value: int) -> int:
    """Return a value within the declared range."""
    return field.low if value < field.low else field.high if value > field.high else value


def stepped(field: TelemetryField, value: int) -> int:
    """Round a value within the range to the declared step, without leaving the range."""
    value = (value + field.step // 2) // field.step * field.step
    value = value - field.step if value > field.high else value
    return value if value >= field.low else value + field.step


def pack(messages: "tuple[Message, ...]", number: "Any") -> "list[dict[int, Any]]":
    """Lay messages of one purpose out as a SenML pack (RFC 8428 §6: -3 base time, 0 name, 1 unit, 2 value, 6 time).

    `number(exponent, mantissa)` makes the CBOR decimal fraction (tag 4, RFC 8949 §3.4.4) for values that are not whole.
    """
    base = min([m.at for m in messages]) if messages else 0
    rows: "list[dict[int, Any]]" = []
    for message in messages:
        row: "dict[int, Any]" = {0: message.name, 1: message.unit}
        row[2] = number(-message.scale, message.value) if message.scale else message.value
        if message.at != base:
            row[6] = message.at - base
        rows.append(row)
    if rows:
        rows[0][-3] = base
    return rows
