"""The fleet's word that a device which erased itself may be claimed anew: the voucher. FORMAT.md 7.5.

It holds no secret: it names the sha256 of a token that the device drew itself and signed into its receipt of erasure.
"""

from . import cbor
from .catalogue import slug
from .errors import BadInput, Refused, WrongDevice
from .record import Record

FORM = "privet voucher 1"
DIGEST = 32  # bytes
MOST = 1024  # bytes of a signed one
SHAPE = {"device": str, "fleet": str, "receipt": bytes, "token": bytes, "until": int}
ANOTHER = "; ask the fleet's operator for another: privet-fleet devices transfer"


class Voucher(Record):
    """Which device of which fleet may be claimed with which token (its sha256), until when, for which receipt."""

    __slots__ = ("device", "fleet", "receipt", "token", "until")
    fleet: str
    device: str
    token: bytes
    receipt: bytes
    until: int


def voucher_payload(voucher: Voucher) -> bytes:
    """Return the bytes that a fleet signs."""
    table = {name: getattr(voucher, name) for name in SHAPE}
    payload = cbor.encode([FORM, table])
    read_voucher(payload)  # nothing is signed that no device would take
    return payload


def read_voucher(payload: bytes) -> Voucher:
    """Read a payload whose signature was found right; BadInput unless it is exactly a voucher."""
    value = cbor.decode(payload, MOST, 3)
    table = value[1] if type(value) is list and len(value) == 2 and value[0] == FORM else None
    if type(table) is not dict or len(table) != len(SHAPE) or not all([type(table.get(k)) is SHAPE[k] for k in SHAPE]):
        raise BadInput("what came from the fleet is no voucher" + ANOTHER)
    made = Voucher(**table)
    sizes = len(made.token) == DIGEST and len(made.receipt) == DIGEST
    if not slug(made.device) or not slug(made.fleet) or not sizes or made.until < 1:
        raise BadInput("the voucher has a name, a time or a length that none has" + ANOTHER)
    return made


def admits(voucher: Voucher, fleet: str, device: str, token: bytes, now: int) -> None:
    """Refuse a voucher for another device, for another token than the one that waits here, or one that ended.

    `token` is the sha256 of the token that waits, empty when it was used; `now` 0 leaves the end to the fleet's desk,
    which judges it in any case.
    """
    if voucher.fleet != fleet or voucher.device != device:
        raise WrongDevice("the voucher is for another device" + ANOTHER)
    if voucher.token != token:
        raise Refused("the voucher was used, or is of an earlier handing over" + ANOTHER)
    if now > voucher.until:
        raise Refused("the voucher ended before it was used" + ANOTHER)
