"""Personalised slots: what makes ten thousand cards of one image ten thousand devices.

A seed is written by `agent.core` once; in the others of a batch only the id, the token and the serial number change, at
the same places, and each is signed. So a slot costs a signature and little else. A batch's ends are read back.
"""

import hashlib
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from agent.core.cbor import encode
from agent.core.cose import key_id, sign1, split_sign1
from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.record import Record
from agent.core.secret import Secret
from agent.core.seed import Seed, sealed_payload, seed_payload
from agent.core.slot import SEED, choose, encode_half, whole
from provisioning.fleet.boardseal import sealed
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import TOKEN, Planned


class Places(Record):
    """Where the devices of a batch enrol, where their broker is, and the policy in their image with its number."""

    __slots__ = ("broker", "enrol", "floor", "policy", "sequence")
    enrol: tuple[str, int]
    broker: tuple[str, int]
    policy: bytes
    sequence: int
    floor: int


def seed_of(fleet: Fleet, places: Places, device: str, token: bytes, serial: str) -> Seed:
    """Return the seed of one card."""
    root = x509.load_pem_x509_certificate(fleet.trust_anchor()).public_bytes(serialization.Encoding.DER)
    return Seed(
        device=device, token=Secret(token), serial=serial, floor=places.floor,
        enrol_host=places.enrol[0], enrol_port=places.enrol[1], broker_host=places.broker[0],
        broker_port=places.broker[1], anchor=hashlib.sha256(root).digest(),
        policy=hashlib.sha256(places.policy).digest(), sequence=places.sequence,
    )  # fmt: skip


class Stamp:
    """The slot of a fleet's batch, ready for ids of one length and serial numbers of one length."""

    def __init__(self, fleet: Fleet, places: Places, first: Planned, serial: str) -> None:
        self._key = fleet.signing_key()
        kid = key_id(self._key.public_key().public_bytes_raw())
        device, board, token = "d" * len(first.device), "s" * len(serial), bytes(TOKEN)
        payload = seed_payload(seed_of(fleet, places, device, token, board))
        message = sign1(payload, kid, lambda _: bytes(64))
        half = encode_half(SEED, message)
        at = half.index(message)
        # Each field follows its name; the signature, the last 64 bytes of the message, is put in later.
        fields = [(encode("token") + encode(token), TOKEN), (encode("device") + encode(device), len(device))]
        fields.append((encode("serial") + encode(board), len(board)))
        self._signed = _cut(split_sign1(message, len(message)).signed, fields)
        self._half = _cut(half[: at + len(message) - 64], fields)
        self._rest = half[at + len(message) :]

    def slot(self, one: Planned, serial: str) -> bytes:
        """Return the 8 KiB of one card."""
        own = one.token, one.device.encode(), serial.encode()
        signature = self._key.sign(_joined(self._signed, own))
        half = _joined(self._half, own) + signature + self._rest
        return half + half


def _joined(parts: list[bytes | int], own: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join([own[part] if isinstance(part, int) else part for part in parts])


def _cut(form: bytes, fields: list[tuple[bytes, int]]) -> list[bytes | int]:
    """Cut a form at its fields (name with value, length of the value): each value becomes the number of its field."""
    places = sorted((form.index(mark) + len(mark) - size, size, number) for number, (mark, size) in enumerate(fields))
    parts: list[bytes | int] = []
    begin = 0
    for at, size, number in places:
        parts += [form[begin:at], number]
        begin = at + size
    return [*parts, form[begin:]]


def sealed_slot(fleet: Fleet, places: Places, one: Planned, serial: str, public: bytes) -> bytes:
    """Return the slot of a card whose seed one board alone can open; nobody here can read it back."""
    payload = seed_payload(seed_of(fleet, places, one.device, one.token, serial))
    key = fleet.signing_key()
    kid = key_id(key.public_key().public_bytes_raw())
    return whole(SEED, sign1(sealed_payload(sealed(payload, places.floor, public)), kid, key.sign))


def slots(
    fleet: Fleet,
    places: Places,
    cards: Sequence[Planned],
    serials: Sequence[str] = (),
    keys: Sequence[bytes] = (),
) -> Iterator[bytes]:
    """Yield the slot of each card; Failed when one that was read back is not what it should be.

    `keys` are the public keys of the boards, each empty where it is not known.
    """
    stamps: dict[tuple[int, int], Stamp] = {}
    boards = serials or [""] * len(cards)
    ends = {0, len(cards) - 1}
    for number, (one, serial, key) in enumerate(zip(cards, boards, keys or [b""] * len(cards), strict=True)):
        if key:
            yield sealed_slot(fleet, places, one, serial, key)
            continue
        shape = len(one.device), len(serial)
        fresh = shape not in stamps
        stamp = stamps.setdefault(shape, Stamp(fleet, places, one, serial)) if fresh else stamps[shape]
        made = stamp.slot(one, serial)
        if fresh or number in ends:
            checked_slot(fleet, made, one, serial)
        yield made


def checked_slot(fleet: Fleet, made: bytes, one: Planned, serial: str) -> None:
    """Read a slot as a device does; Failed unless it holds exactly this seed."""
    public = fleet.signing_key().public_key()

    def verified(message: bytes) -> bytes:
        signed = split_sign1(message, len(message))
        try:
            public.verify(signed.signature, signed.signed)
        except InvalidSignature:
            raise BadInput("its signature is wrong") from None
        return signed.payload

    try:
        seed = choose(made, verified)
    except PrivetError as error:
        raise Failed(f"the slot of {one.device} cannot be read back ({error}); tell who maintains Privet") from None
    if (seed.device, seed.token.reveal(), seed.serial) != (one.device, one.token, serial):
        raise Failed(f"the slot of {one.device} holds another seed than its own; tell who maintains Privet")


def places_of(fleet: Fleet, policy: bytes, sequence: int, floor: int, enrol: tuple[str, int]) -> Places:
    """Return what all seeds of a batch share; the broker is the one that the fleet was made with."""
    host, port = fleet.safe.facts.get("broker_host", ""), fleet.safe.facts.get("broker_port", "0")
    if not port.isdecimal():
        raise BadInput("the fleet's broker port is damaged; make it right in fleet.json")
    broker = (host, int(port)) if host else ("", 0)
    return Places(enrol=enrol, broker=broker, policy=policy, sequence=sequence, floor=floor)
