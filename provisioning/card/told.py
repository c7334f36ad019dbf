"""What a card tells of itself: what is on it, where its slot is, and what each half of the slot holds."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from agent.core.cose import EDDSA, ES256, split_sign1
from agent.core.errors import BadInput, PrivetError
from agent.core.seed import read_receipt, read_sealed, read_seed
from agent.core.slot import BLANK, HALF, MOST, RECEIPT, SIZE, decode_half, halves
from provisioning.card.targets.content import FATS, Content, Read, content, fat_root, field, listing_form, partitions

NAME = "privet.slot"
ROOM = 64 << 10  # bytes of the root folder that are looked through
LONG, LABEL, DELETED = 0x0F, 0x08, 0xE5


class Told(NamedTuple):
    """What was found. `slot` is None where a card has none."""

    content: Content
    offset: int
    slot: bytes | None


def told(read: Read, size: int) -> Told:
    """Look at a card."""
    found = content(read, size)
    offset = place(read, size)
    return Told(found, offset, read(offset, SIZE) if offset else None)


def place(read: Read, size: int) -> int:
    """Return where the slot of a card begins; 0 when it has none."""
    parts = [part for part in partitions(read(0, 4096), size) if part.kind in FATS]
    for part in parts:
        start = read(part.offset, 4096)
        root = fat_root(start) if listing_form(start) == "fat" else None
        if root is None:
            continue
        sector, cluster = field(start, 11, 2), start[13]
        first = field(start, 14, 2) + start[16] * (field(start, 22, 2) or field(start, 36, 4))
        heap = first * sector + field(start, 17, 2) * 32
        for name, number in entries(read(part.offset + root, min(ROOM, size - part.offset - root))):
            at = part.offset + heap + (number - 2) * cluster * sector
            if name.lower() == NAME and number >= 2 and at + SIZE <= size:
                return at
    return 0


def entries(block: bytes) -> Iterator[tuple[str, int]]:
    """Yield the long names in a folder of a FAT file system, with the cluster that each file begins at."""
    long = ""
    for at in range(0, len(block), 32):
        entry = block[at : at + 32]
        if entry[0] == 0:
            return
        if entry[11] == LONG and entry[0] != DELETED:
            part = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", "replace")
            long = part.partition("\0")[0] + long
            continue
        if entry[0] != DELETED and not entry[11] & LABEL:
            short = (entry[:8].rstrip() + b"." + entry[8:11].rstrip()).decode("latin-1")
            yield long or short, field(entry, 20, 2) << 16 | field(entry, 26, 2)
        long = ""


def half(content_of: bytes) -> dict[str, Any]:
    """Tell what one half holds. A token is never told. Nothing is verified: who holds the keys can."""
    try:
        side = decode_half(content_of)
        if side.kind == BLANK:
            return {"holds": "blank"}
        if side.kind == RECEIPT:
            receipt = read_receipt(split_sign1(side.message, MOST, ES256).payload)
            return {"holds": "receipt", "device": receipt.device, "key": receipt.key.hex(), "time": receipt.time}
        signed = split_sign1(side.message, MOST, EDDSA)
        sealed = read_sealed(signed.payload)
        if sealed is not None:
            return {
                "holds": "seed", "board": sealed.board.hex(), "floor": sealed.floor, "signed_by": signed.kid.hex(),
            }  # fmt: skip
        seed = read_seed(signed.payload)
    except PrivetError as error:
        return {"holds": "unreadable", "why": str(error)}
    return {
        "holds": "seed", "device": seed.device, "enrol": f"{seed.enrol_host}:{seed.enrol_port}", "floor": seed.floor,
        "sequence": seed.sequence, "serial": seed.serial, "signed_by": signed.kid.hex(),
    }  # fmt: skip


def state(slot: bytes) -> str:
    """Say in one word how a slot stands: used, seed, blank, or unreadable."""
    held = [half(one)["holds"] for one in halves(slot)]
    return next((word for word in ("receipt", "seed", "blank") if word in held), "unreadable").replace(
        "receipt", "used"
    )


def ours(slot: bytes) -> None:
    """Raise BadInput unless one half at least is something that Privet wrote."""
    problem: BadInput | None = None
    for at in (0, HALF):
        try:
            decode_half(slot[at : at + HALF])
        except BadInput as error:
            problem = error
        else:
            return
    if problem is not None:
        raise problem
