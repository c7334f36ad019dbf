"""Asking a recipient to delete what it has of a purpose, and its receipt; when to ask again. FORMAT.md 3.8."""

import hashlib

from .cbor import decode, encode
from .cose import MAC, MAX_SEQ, Stream
from .errors import BadInput
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORM = "privet deletion 1"
PROOF = "privet deletion proof 1"
ANSWER = "privet deleted 1"
WORD = "delete"
EPOCH = 1  # of the one key that is made for a request
ID = 16  # bytes of a request's name
MOST = 1024  # bytes of a receipt
FIRST, LONGEST = 30, 21600  # seconds until a recipient that did not answer is asked again: doubled, up to six hours


class Request(Record):
    """What is asked for: everything of this purpose in starts up to `boot`, of this device, by its owner, at a time.

    `key` is the receipt's key, sealed to the recipient; `proof` is made with its ack key, empty when it has none.
    """

    __slots__ = ("at", "boot", "device", "fleet", "key", "proof", "purpose", "recipient")
    fleet: str
    device: str
    purpose: str
    recipient: str
    boot: int
    at: int
    key: bytes
    proof: bytes


class Receipt(Record):
    """A recipient's word: which request, when it deleted, how many records, how many newer ones it keeps; unchecked."""

    __slots__ = ("at", "deleted", "id", "kept", "mac", "purpose", "recipient")
    purpose: str
    recipient: str
    id: bytes
    at: int
    deleted: int
    kept: int
    mac: bytes


def stream(fleet: str, device: str, purpose: str, boot: int) -> Stream:
    """Name the place of a request's key: no purpose of a policy has a slash in its name."""
    return Stream(fleet=fleet, device=device, purpose="delete/" + purpose, boot=boot, epoch=EPOCH)


def wrapped_of(body: bytes, recipient: str) -> bytes:
    """Take the one sealed key out of the key record it was made as."""
    wrapped: bytes = decode(body)[2][recipient]
    return wrapped


def proof_plain(device: str, purpose: str, recipient: str, boot: int, at: int) -> bytes:
    """Return the bytes under the proof that whoever asks knows the ack key: the guard does, the courier does not."""
    return encode([PROOF, device, purpose, recipient, boot, at])


def request_plain(request: Request) -> bytes:
    """Return what is signed."""
    table = {
        "fleet": request.fleet, "device": request.device, "purpose": request.purpose, "recipient": request.recipient,
        "boot": request.boot, "at": request.at, "key": request.key, "proof": request.proof,
    }  # fmt: skip
    return encode([FORM, table])


def name_of(plain: bytes) -> bytes:
    """Return the name of a request: the beginning of the sha256 of what is signed."""
    return hashlib.sha256(plain).digest()[:ID]


def join_request(signed: bytes, chain: bytes) -> bytes:
    """Return the MQTT payload of a request: signed, with the certificates that name the signer's key."""
    return encode([1, WORD, signed, chain])


def receipt_plain(device: str, receipt: Receipt) -> bytes:
    """Return the bytes under the mac of a receipt."""
    named = [ANSWER, device, receipt.purpose, receipt.recipient, receipt.id]
    return encode(named + [receipt.at, receipt.deleted, receipt.kept])


def join_receipt(receipt: Receipt) -> bytes:
    """Return the payload of a receipt."""
    named = [1, receipt.purpose, receipt.recipient, receipt.id]
    return encode(named + [receipt.at, receipt.deleted, receipt.kept, receipt.mac])


def split_receipt(payload: bytes) -> "Receipt | None":
    """Take a receipt apart; None for what has not its form, an acknowledgement above all. The caller checks the mac."""
    try:
        value = decode(payload, MOST, 1)
    except BadInput:
        return None
    if not _shaped(value):
        return None
    counts = value[4:7]
    if value[0] != 1 or len(value[3]) != ID or len(value[7]) != MAC or not all([0 <= n <= MAX_SEQ for n in counts]):
        return None
    return Receipt(
        purpose=value[1], recipient=value[2], id=value[3], at=value[4], deleted=value[5], kept=value[6], mac=value[7]
    )


def patience(tries: int) -> int:
    """Return the seconds until a recipient that was asked so often, and did not answer, is asked again."""
    wait = FIRST
    while tries > 1 and wait < LONGEST:
        wait, tries = wait * 2, tries - 1
    return wait if wait < LONGEST else LONGEST


def _shaped(value: "Any") -> bool:
    """Say whether a value is a list of the kinds that a receipt holds."""
    kinds = (int, str, str, bytes, int, int, int, bytes)
    return type(value) is list and len(value) == 8 and all([type(value[i]) is kinds[i] for i in range(8)])
