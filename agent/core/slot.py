"""The seed slot of a card: 8 KiB in two halves, a signed seed before first use, a signed receipt after it.

The halves are written one after the other, so that a power cut leaves at least one whole. Nothing here reads or writes
a card. provisioning/FORMAT.md section 5 has the bytes.
"""

from .cose import ES256, split_sign1
from .errors import BadInput, Missing, PrivetError, Refused, Tampered, WrongDevice
from .record import Record
from .seed import AGAIN, Receipt, SealedSeed, Seed, read_receipt, read_sealed, read_seed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

SIZE, HALF, HEAD = 8192, 4096, 16  # bytes
MAGIC, VERSION = b"PRVTSLOT", 1
BLANK, SEED, RECEIPT = 0, 1, 2  # what a half holds
MOST = HALF - HEAD


class Side(Record):
    """One half taken apart: what it says it holds, and the COSE_Sign1 in it. Nothing is verified yet."""

    __slots__ = ("kind", "message")
    kind: int
    message: bytes


def encode_half(kind: int, message: bytes = b"") -> bytes:
    """Return the 4 KiB of one half."""
    if len(message) > MOST or kind not in (BLANK, SEED, RECEIPT) or (kind == BLANK) != (message == b""):
        raise BadInput("a half of the slot holds one signed message of at most %d bytes, or none" % MOST)
    made = bytearray(HALF)
    made[:HEAD] = MAGIC + VERSION.to_bytes(2, "big") + kind.to_bytes(2, "big") + len(message).to_bytes(4, "big")
    made[HEAD : HEAD + len(message)] = message
    return bytes(made)


def decode_half(half: bytes) -> Side:
    """Take one half apart; BadInput says whether it is cut, of another version, or no half at all."""
    if len(half) != HALF:
        raise BadInput("a half of the slot has %d bytes where %d belong" % (len(half), HALF) + AGAIN)
    if half[:8] != MAGIC:
        raise BadInput("what stands in the slot is nothing that Privet wrote" + AGAIN)
    version, kind = int.from_bytes(half[8:10], "big"), int.from_bytes(half[10:12], "big")
    length = int.from_bytes(half[12:16], "big")
    if version != VERSION:
        raise BadInput(
            "the slot is in form %d, this version of Privet reads form %d; update Privet" % (version, VERSION)
        )
    end = HEAD + length
    if length > MOST or kind not in (BLANK, SEED, RECEIPT) or (kind == BLANK) != (length == 0) or not _zeros(half, end):
        raise BadInput("the slot is damaged" + AGAIN)
    return Side(kind=kind, message=half[HEAD:end])


def blank() -> bytes:
    """Return the slot of an image that no device was made from yet."""
    return encode_half(BLANK) + encode_half(BLANK)


def whole(kind: int, message: bytes) -> bytes:
    """Return a slot with the same in both halves."""
    return encode_half(kind, message) + encode_half(kind, message)


def halves(slot: bytes) -> "tuple[bytes, bytes]":
    """Return the two halves; BadInput when the slot has not its size."""
    if len(slot) != SIZE:
        raise BadInput("the slot has %d bytes where %d belong" % (len(slot), SIZE) + AGAIN)
    return slot[:HALF], slot[HALF:]


def receipt_in(slot: bytes) -> "Receipt | None":
    """Return the receipt in either half, unverified; None while the slot is unused."""
    for half in halves(slot):
        try:
            side = decode_half(half)
            if side.kind == RECEIPT:
                return read_receipt(split_sign1(side.message, MOST, ES256).payload)
        except BadInput:  # torn or worn: the other half stands for both
            continue
    return None


def used(slot: bytes) -> bool:
    """Say whether a device has put its receipt into the slot. It is believed unverified: who can forge it can erase."""
    return receipt_in(slot) is not None


def choose(
    slot: bytes, verify: "Callable[[bytes], bytes]", unseal: "Callable[[SealedSeed], bytes] | None" = None
) -> Seed:
    """Return the seed of the good half, of two the later; `verify` returns the payload of what a fleet signed.

    `unseal` opens a seed that is sealed to this board; without it, or for another board, it is WrongDevice.
    Refused when the slot is used, Missing when it is blank, Tampered when no signature holds, else BadInput.
    """
    receipt = receipt_in(slot)
    if receipt is not None:
        raise Refused("the seed in the slot was used by %s; flash the card again for another device" % receipt.device)
    best: "Seed | None" = None
    problem: PrivetError = Missing("the slot holds no seed yet; flash the card with privet-fleet flash")
    for half in halves(slot):
        try:
            side = decode_half(half)
            if side.kind == SEED:
                seed = _verified(side.message, verify, unseal)
                best = seed if best is None or seed.floor > best.floor else best
        except (BadInput, Tampered) as error:
            if type(problem) is not Tampered:  # the graver of two
                problem = error
    if best is None:
        raise problem
    return best


def _zeros(half: bytes, start: int) -> bool:
    return not any(half[at] for at in range(start, HALF))  # no copy: a small heap has few holes of this size


def _verified(
    message: bytes, verify: "Callable[[bytes], bytes]", unseal: "Callable[[SealedSeed], bytes] | None"
) -> Seed:
    payload = None
    try:
        payload = verify(message)
    except BadInput:  # what a seam of policies says of a signature speaks of policies
        pass
    if payload is None:
        raise Tampered("the seed is not signed by this fleet, or was changed" + AGAIN)
    sealed = read_sealed(payload)
    if sealed is None:
        return read_seed(payload)
    if unseal is None:
        raise WrongDevice("the seed is sealed to one board, and this is not it; put the card back into its own")
    seed = read_seed(unseal(sealed))
    if seed.floor != sealed.floor:
        raise Tampered("the sealed seed was made at another time than it says" + AGAIN)
    return seed
