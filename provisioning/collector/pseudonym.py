"""Readings handed on without the names of their devices: a pseudonym for each, another one in every span of time.

What else would tie two spans together goes as well: the count of starts, the numbers of records, the second and the
order of arrival (as far as readings fit into memory at once).
Whoever has the key can tell which device it is, and nobody else; what the *values* give away (a meter that only counts
up, a place) no pseudonym hides: declare those fields so that they do not.

Weighed: a pseudonym on the device. The topic names it to the broker, certificate and access list hold it to that name,
and receivers de-duplicate by it: it would hide nothing from those who receive. Where readings are handed on, it does.
"""

import base64
import hmac
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import cbor2

from agent.core.record import replace
from agent.core.secret import Secret
from provisioning.collector.open import Place
from provisioning.collector.receive import Reading

DAY = 86400
USUAL = 30 * DAY  # seconds, of a purpose that declares none
LETTERS = 16
GROUP = 20_000  # readings in memory at once
NUMBERS = 6  # bytes: a number that a float of a spreadsheet still holds


class Pseudonyms:
    """The names of devices under one key; `spans` says for a purpose how long one lasts, in seconds."""

    def __init__(self, key: Secret, spans: Mapping[str, int]) -> None:
        self._key = key
        self._spans = spans

    def name(self, device: str, purpose: str, at: int) -> str:
        """Return the pseudonym of a device at a time: the same within a span and a purpose, and there alone."""
        span = self._spans.get(purpose, USUAL)
        drawn = self._drawn("privet pseudonym 1", device, purpose, span, at // span)
        return base64.b32encode(drawn).decode().lower()[:LETTERS]

    def renamed(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        """Return readings as they may be handed on."""
        rest = self._numbered(readings)
        while group := list(islice(rest, GROUP)):
            yield from sorted(group, key=lambda one: (one.place.device, one.at, one.name, one.seq))

    def _numbered(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        """Give each reading the pseudonym of its time, and a number of its own that says nothing."""
        record, row = 0, 0
        for count, one in enumerate(readings, 1):
            row = row + 1 if one.arrival == record else 0
            record = one.arrival
            device, purpose, boot = one.place.device, one.place.purpose, one.place.boot
            place = Place(device=self.name(device, purpose, one.at), purpose=purpose, boot=0)
            drawn = self._drawn("privet number 1", device, purpose, boot, one.seq, row)
            seq = int.from_bytes(drawn[:NUMBERS], "big")
            yield replace(one, arrival=count, place=place, seq=seq, received=one.received // DAY * DAY)

    def _drawn(self, *what: str | int) -> bytes:
        return hmac.digest(self._key.reveal(), cbor2.dumps(list(what), canonical=True), "sha256")
