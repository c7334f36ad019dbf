"""Reads what devices send, as provisioning/FORMAT.md section 3 has it. Written apart from the device's side.

What comes from the network is decoded by core/cbor, which knows a few kinds of value and refuses the rest; cbor2 would
act on tags (dates, patterns, references to itself) before we could say no. What we encode, we encode with cbor2: a
record opens only where both agree to the byte.
"""

import hashlib
import hmac
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from agent.core.catalogue import slug
from agent.core.cbor import Tag, decode
from agent.core.errors import BadInput, Tampered
from agent.core.record import Record
from agent.core.secret import Secret

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
MOST_MESSAGE = 320 * 1024  # bytes
MOST_BOOT, MOST_SEQ = (1 << 32) - 1, (1 << 63) - 2  # the latter: what SQLite can still count on from
KEY = 32  # bytes
WRAPPED = 1120 + 69 + 16  # bytes of an epoch key sealed to one recipient
CONSENT = 72  # bytes of what it is told of the owner's consent
WITH_CONSENT = WRAPPED + 2 + CONSENT
ENCRYPT0, FRACTION = 16, 4  # CBOR tags
DEEPEST = 15  # decimals a value may have
ODD = "a record holds an odd reading; its device needs the newest agent"
NO_RECORD = "a message on {} is no record of a device; it was put aside"


class Place(Record):
    """Where a record belongs: device, purpose, count of guard starts."""

    __slots__ = ("boot", "device", "purpose")
    device: str
    purpose: str
    boot: int


class Envelope(Record):
    """A record that arrived: its place, number and epoch; `body` as it came; nothing is opened yet.

    `wrapped` holds what a key record brings (recipient: sealed epoch key), else None; `nonce`, `protected` and
    `ciphertext` are those of a sealed record.
    """

    __slots__ = ("body", "ciphertext", "epoch", "nonce", "place", "protected", "seq", "wrapped")
    place: Place
    seq: int
    epoch: int
    body: bytes
    wrapped: dict[str, bytes] | None
    nonce: bytes
    protected: bytes
    ciphertext: bytes


class EpochKeys(Record):
    """The two keys a key record held for us: for the records of the epoch, and for our acknowledgements; and `consent`.

    That is when the owner agreed, to which words and to which declaration; None where the device tells nothing of it.
    """

    __slots__ = ("acknowledging", "consent", "opening")
    opening: Secret
    acknowledging: Secret
    consent: tuple[int, bytes, bytes] | None


class Gap(Record):
    """The device owns up: of `first` to `last` of a boot, what we do not have will never come; `count` it gave up."""

    __slots__ = ("boot", "count", "first", "last")
    boot: int
    first: int
    last: int
    count: int


class Datum(Record):
    """One reading inside a record: field name, SenML unit ("" for a text), number or text, Unix time (0: not said)."""

    __slots__ = ("at", "name", "unit", "value")
    name: str
    unit: str
    value: Decimal | str
    at: int


def canonical(value: Any) -> bytes:
    """Return the deterministic CBOR of a value (FORMAT.md section 1 says why `canonical` is it here)."""
    return cbor2.dumps(value, canonical=True)


def read_topic(fleet: str, topic: str) -> tuple[str, str]:
    """Return device and purpose of a telemetry topic of this fleet; BadInput for any other topic."""
    parts = topic.split("/")
    if (
        len(parts) != 6
        or parts[:3] != ["privet", "1", fleet]
        or parts[4] != "up"
        or not (slug(parts[3]) and slug(parts[5]))
    ):
        raise BadInput("a message came on a topic that is no device's of this fleet; it was put aside")
    return parts[3], parts[5]


def read_message(fleet: str, topic: str, payload: bytes) -> Envelope:
    """Take a message apart; BadInput unless it has exactly the form of a record."""
    device, purpose = read_topic(fleet, topic)
    problem = BadInput(NO_RECORD.format(topic))
    outer = decode(payload, MOST_MESSAGE)
    if type(outer) is not list or len(outer) != 4 or type(outer[0]) is not int or outer[0] != 1:
        raise problem
    boot, seq, content = outer[1:]
    if type(boot) is not int or type(seq) is not int or not 0 < boot <= MOST_BOOT or not 0 < seq <= MOST_SEQ:
        raise problem
    body = payload[len(canonical([1, boot, seq])) :]  # the head of an array of four is as long as that of three
    place = Place(device=device, purpose=purpose, boot=boot)
    if type(content) is list:
        return _key_record(place, seq, body, content, problem)
    return _sealed_record(place, seq, body, content, problem)


def _key_record(place: Place, seq: int, body: bytes, content: list[Any], problem: BadInput) -> Envelope:
    if len(content) != 3 or content[0] != "key" or type(content[1]) is not int or type(content[2]) is not dict:
        raise problem
    epoch, wrapped = content[1:]
    fine = all(
        type(name) is str and type(w) is bytes and len(w) in {WRAPPED, WITH_CONSENT} for name, w in wrapped.items()
    )
    if not fine or not 0 < epoch <= MOST_BOOT:
        raise problem
    return Envelope(
        place=place, seq=seq, epoch=epoch, body=body, wrapped=wrapped, nonce=b"", protected=b"", ciphertext=b""
    )


def _sealed_record(place: Place, seq: int, body: bytes, content: Any, problem: BadInput) -> Envelope:
    if (
        type(content) is not Tag
        or content.tag != ENCRYPT0
        or type(content.value) is not list
        or len(content.value) != 3
    ):
        raise problem
    protected, unprotected, ciphertext = content.value
    if type(protected) is not bytes or type(unprotected) is not dict or type(ciphertext) is not bytes:
        raise problem
    header = decode(protected, 64, 1)
    if type(header) is not dict or set(header) != {1, 4} or header[1] != 24 or set(unprotected) != {5}:
        raise problem
    if type(header[4]) is not bytes or len(header[4]) != 4:
        raise problem
    if unprotected[5] != place.boot.to_bytes(4, "big") + seq.to_bytes(8, "big"):
        raise Tampered(f"a record of {place.device} carries the number of another; it was put aside")
    return Envelope(
        place=place,
        seq=seq,
        epoch=int.from_bytes(header[4], "big"),
        body=body,
        wrapped=None,
        nonce=unprotected[5],
        protected=protected,
        ciphertext=ciphertext,
    )


def open_key(place: Place, epoch: int, recipient: str, wrapped: bytes, key: MLKEM768X25519PrivateKey) -> EpochKeys:
    """Open what a key record holds for us; Tampered when it was made for another place or recipient, or changed."""
    bound = canonical(["privet key 1", place.device, place.purpose, place.boot, epoch, recipient])
    problem = Tampered(f"a key record of {place.device} does not open with the key of {recipient}; it was put aside")
    try:
        parts = decode(SUITE.decrypt(wrapped, key, info=bound), 256, 1)
    except (InvalidTag, ValueError, BadInput):
        raise problem from None
    if type(parts) is not list or any(type(part) is not bytes for part in parts):
        raise problem
    if [len(part) for part in parts] not in ([KEY, KEY], [KEY, KEY, CONSENT]):
        raise problem
    told = parts[2] if len(parts) > 2 else b""
    consent = (int.from_bytes(told[:8], "big"), told[8:40], told[40:]) if told else None
    return EpochKeys(opening=Secret(parts[0]), acknowledging=Secret(parts[1]), consent=consent)


def open_record(fleet: str, envelope: Envelope, keys: EpochKeys) -> bytes:
    """Return the plaintext of a sealed record; Tampered when anything of it, its place included, was changed."""
    place = envelope.place
    external = canonical(["privet up 1", fleet, place.device, place.purpose, place.boot, envelope.epoch, envelope.seq])
    bound = canonical(["Encrypt0", envelope.protected, external])
    try:
        return ChaCha20Poly1305(keys.opening.reveal()).decrypt(envelope.nonce, envelope.ciphertext, bound)
    except InvalidTag:
        raise Tampered(
            f"record {place.boot}/{envelope.seq} of {place.device} was changed or belongs elsewhere; it was put aside"
        ) from None


def read_plain(plain: bytes) -> Gap | tuple[Datum, ...]:
    """Return what is inside a record; BadInput when the device wrote what FORMAT.md does not know."""
    content = decode(plain, MOST_MESSAGE)
    if type(content) is not list:
        raise BadInput("a record holds neither readings nor a gap; its device needs the newest agent")
    if content and type(content[0]) is str:
        return _gap(content)
    return tuple(_readings(content))


def _gap(content: list[Any]) -> Gap:
    if len(content) != 6 or content[0] != "gap" or any(type(n) is not int or n < 0 for n in content[1:]):
        raise BadInput("a record holds an odd gap; its device needs the newest agent")
    first_boot, first, last_boot, last, count = content[1:]
    if first_boot != last_boot or not 0 < first_boot <= MOST_BOOT or not 0 < first <= min(last, MOST_SEQ):
        raise BadInput("a record holds a gap over no range; its device needs the newest agent")
    # A device that cannot know where its loss ends says "to the last number there is".
    return Gap(boot=first_boot, first=first, last=min(last, MOST_SEQ), count=min(count, MOST_SEQ))


def _readings(rows: list[Any]) -> Iterator[Datum]:
    """Read the rows of a SenML pack: -3 base time, 0 name, 1 unit, 2 number, 3 text, 6 time since the base time."""
    base = 0
    for place, row in enumerate(rows):
        if (
            type(row) is not dict
            or not set(row) <= {-3, 0, 1, 2, 3, 6}
            or (place and -3 in row)
            or (2 in row) == (3 in row)
        ):
            raise BadInput(ODD)
        base = row.get(-3, base)
        kinds = [(type(row.get(0)), str), (type(row.get(1, "")), str), (type(base), int), (type(row.get(6, 0)), int)]
        if any(found is not wanted for found, wanted in kinds) or (3 in row and type(row[3]) is not str):
            raise BadInput(ODD)
        value = row[3] if 3 in row else _number(row[2])
        yield Datum(name=row[0], unit=row.get(1, ""), value=value, at=base + row.get(6, 0))


def _number(value: Any) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    if type(value) is Tag and value.tag == FRACTION and type(value.value) is list and len(value.value) == 2:
        exponent, mantissa = value.value
        if type(exponent) is int and type(mantissa) is int and -DEEPEST <= exponent <= 0:
            return Decimal(mantissa).scaleb(exponent)
    raise BadInput("a reading is no number; its device needs the newest agent")


def sender(keys: EpochKeys) -> bytes:
    """Return the mark of whoever made a key record: a device gives us one ack key in all of its key records."""
    return hashlib.sha256(keys.acknowledging.reveal()).digest()


def acknowledgement(place: Place, seq: int, recipient: str, key: Secret) -> bytes:
    """Return the message that lets the device forget the records of this boot up to `seq`; 0 says "I am here"."""
    named = ["privet ack 1", place.device, place.purpose, recipient, place.boot, seq]
    mac = hmac.digest(key.reveal(), canonical(named), hashlib.sha256)
    return canonical([1, place.purpose, recipient, place.boot, seq, mac])
