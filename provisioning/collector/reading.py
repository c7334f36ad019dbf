"""What a collector hands out."""

from decimal import Decimal

from agent.core.record import Record
from provisioning.collector.open import Place


class Reading(Record):
    """One reading of one device: its record's number of arrival, place and number; name, unit, value, Unix time.

    `value` is a number, or the text of a message such as a warning (then `unit` is "").
    """

    __slots__ = ("arrival", "at", "name", "place", "received", "seq", "unit", "value")
    arrival: int
    place: Place
    seq: int
    name: str
    unit: str
    value: Decimal | str
    at: int
    received: int
