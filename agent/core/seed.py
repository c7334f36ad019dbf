"""What a card tells a device at its first start, the seed, and what the device leaves in its place, the receipt.

A seed says who the device is and where it enrols; its token opens one enrolment and nothing else.
provisioning/FORMAT.md section 5 has the bytes.
"""

from . import cbor
from .catalogue import slug
from .errors import BadInput, WrongDevice
from .record import Record
from .secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SEED_FORM, RECEIPT_FORM = "privet seed 1", "privet receipt 1"
SEALED_FORM, SEALING_FORM = "privet sealed seed 1", "privet seed to board 1"
BOARD = 8  # bytes of a board's name: the first of the sha256 of its public key
TOKEN, DIGEST = 32, 32  # bytes
MOST = 4080  # bytes of a body, as many as a half of the slot could hold
MOST_SERIAL, MOST_HOST = 64, 253
PLACE = {"host": str, "port": int}
SEED_SHAPE = {
    "anchor": bytes, "broker": dict, "device": str, "enrol": dict, "floor": int, "policy": bytes, "sequence": int,
    "serial": str, "token": bytes,
}  # fmt: skip
RECEIPT_SHAPE = {"device": str, "key": bytes, "time": int}
SEALED_SHAPE = {"board": bytes, "floor": int, "sealed": bytes}
AGAIN = "; flash the card again"


class Seed(Record):
    """What a card gives a device at its first start: who it is, whom it enrols with and how, what it must find there.

    `anchor` and `policy` are sha256 digests: of the fleet's root certificate (DER), of the signed policy in the image.
    `floor` is the time of flashing; `serial` binds the card to one board, empty when it fits any.
    """

    __slots__ = (
        "anchor", "broker_host", "broker_port", "device", "enrol_host", "enrol_port", "floor", "policy", "sequence",
        "serial", "token",
    )  # fmt: skip
    device: str
    token: Secret
    enrol_host: str
    enrol_port: int
    broker_host: str
    broker_port: int
    anchor: bytes
    floor: int
    policy: bytes
    sequence: int
    serial: str


class SealedSeed(Record):
    """A seed that one board alone can open: that board's name, the seed's time, and the seed, sealed by HPKE."""

    __slots__ = ("board", "floor", "sealed")
    board: bytes
    floor: int
    sealed: bytes

    @property
    def context(self) -> bytes:
        """What is bound into the seal: nobody can say that it was made for another board or at another time."""
        return sealing_context(self.board, self.floor)


class Receipt(Record):
    """What takes the seed's place: which device used it, the sha256 of its public key (SubjectPublicKeyInfo), when."""

    __slots__ = ("device", "key", "time")
    device: str
    key: bytes
    time: int


def seed_payload(seed: Seed) -> bytes:
    """Return the bytes that a fleet signs."""
    table = {
        "anchor": seed.anchor, "device": seed.device, "floor": seed.floor, "policy": seed.policy,
        "broker": {"host": seed.broker_host, "port": seed.broker_port}, "sequence": seed.sequence,
        "enrol": {"host": seed.enrol_host, "port": seed.enrol_port}, "serial": seed.serial,
        "token": seed.token.reveal(),
    }  # fmt: skip
    payload = cbor.encode([SEED_FORM, table])
    read_seed(payload)  # nothing is signed that no device would take
    return payload


def read_seed(payload: bytes) -> Seed:
    """Read a payload whose signature was found right; BadInput unless it is exactly a seed."""
    t = _body(payload, SEED_FORM, SEED_SHAPE, "seed")
    broker, enrol = _table(t["broker"], PLACE, "seed"), _table(t["enrol"], PLACE, "seed")
    sound = slug(t["device"]) and len(t["token"]) == TOKEN and len(t["anchor"]) == DIGEST and len(t["policy"]) == DIGEST
    nowhere = broker["host"] == "" and broker["port"] == 0  # a policy without recipients names no broker
    if not sound or t["floor"] < 1 or t["sequence"] < 1 or len(t["serial"]) > MOST_SERIAL:
        raise BadInput("the seed has a name, a time or a length that no seed has" + AGAIN)
    if not _reachable(enrol) or not (nowhere or _reachable(broker)):
        raise BadInput("the seed names a server that cannot be one" + AGAIN)
    return Seed(
        device=t["device"], token=Secret(t["token"]), enrol_host=enrol["host"], enrol_port=enrol["port"],
        broker_host=broker["host"], broker_port=broker["port"], anchor=t["anchor"], floor=t["floor"],
        policy=t["policy"], sequence=t["sequence"], serial=t["serial"],
    )  # fmt: skip


def sealing_context(board: bytes, floor: int) -> bytes:
    """Return what a seal to a board is bound to."""
    return cbor.encode([SEALING_FORM, board, floor])


def sealed_payload(seed: SealedSeed) -> bytes:
    """Return the bytes that a fleet signs of a sealed seed."""
    payload = cbor.encode([SEALED_FORM, {"board": seed.board, "floor": seed.floor, "sealed": seed.sealed}])
    read_sealed(payload)
    return payload


def read_sealed(payload: bytes) -> "SealedSeed | None":
    """Read a payload whose signature was found right; None when it is another than a sealed seed."""
    value = cbor.decode(payload, MOST, 3)
    if type(value) is not list or len(value) != 2 or value[0] != SEALED_FORM:
        return None
    t = _table(value[1], SEALED_SHAPE, "sealed seed")
    if len(t["board"]) != BOARD or t["floor"] < 1 or not t["sealed"]:
        raise BadInput("the sealed seed has a name, a time or a length that none has" + AGAIN)
    return SealedSeed(board=t["board"], floor=t["floor"], sealed=t["sealed"])


def receipt_payload(receipt: Receipt) -> bytes:
    """Return the bytes that a device signs with its own key."""
    return cbor.encode([RECEIPT_FORM, {"device": receipt.device, "key": receipt.key, "time": receipt.time}])


def read_receipt(payload: bytes) -> Receipt:
    """Read the payload of a receipt; BadInput unless it is exactly one. Whether it is true is for the signature."""
    t = _body(payload, RECEIPT_FORM, RECEIPT_SHAPE, "receipt")
    if not slug(t["device"]) or len(t["key"]) != DIGEST or t["time"] < 0:
        raise BadInput("the receipt has a name, a time or a length that no receipt has" + AGAIN)
    return Receipt(device=t["device"], key=t["key"], time=t["time"])


def fits(seed: Seed, serial: str) -> None:
    """Refuse a card that was bound to another board."""
    if seed.serial and seed.serial != serial:
        raise WrongDevice(
            "the card was made for another board; put it back into its own, or flash it again for this one"
        )


def _body(payload: bytes, form: str, shape: "dict[str, Any]", name: str) -> "dict[str, Any]":
    value = cbor.decode(payload, MOST, 3)
    if type(value) is not list or len(value) != 2 or value[0] != form:
        raise BadInput("what is signed in the slot is no %s" % name + AGAIN)
    return _table(value[1], shape, name)


def _table(table: "Any", shape: "dict[str, Any]", name: str) -> "dict[str, Any]":
    if type(table) is not dict or len(table) != len(shape) or not all([type(table.get(k)) is shape[k] for k in shape]):
        raise BadInput("the %s lacks something, or has it in another form" % name + AGAIN)
    return table


def _reachable(place: "dict[str, Any]") -> bool:
    host = place["host"]
    plain = all([33 <= ord(letter) <= 126 for letter in host])
    return plain and 0 < len(host) <= MOST_HOST and 0 < place["port"] < 1 << 16
