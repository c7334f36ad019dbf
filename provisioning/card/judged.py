"""What an image is, and whether it is what its manifest says: the map, the bill, all outside the slot, the slot."""

import hashlib
from pathlib import Path
from typing import Any

from agent.core import slot
from agent.core.errors import Missing, PrivetError, Refused, Tampered, WrongDevice
from agent.core.record import Record
from provisioning.card.blockmap import bmap, mapped
from provisioning.card.bootfs import SLOT, Bootfs
from provisioning.card.build import BMAP, SBOM, beside
from provisioning.card.deb import paragraphs
from provisioning.card.disk import look
from provisioning.card.installed import STATUS
from provisioning.card.layout import known, layout_of
from provisioning.card.manifest import Manifest, open_manifest
from provisioning.card.rootfs import Rootfs
from provisioning.profile.sign import verify as verify_signed

BLANK, SEED, USED, NONE = "blank", "seed", "used", "none"


class SlotState(Record):
    """What a slot holds: blank, a seed and for which device, used and by which device; or what is wrong with it."""

    __slots__ = ("device", "state", "wrong")
    state: str
    device: str
    wrong: str


def verified(image: Path, publics: tuple[bytes, ...]) -> tuple[Manifest, SlotState]:
    """Compare an image with its manifest, its block map and its bill; Tampered names the first that differs."""
    manifest = open_manifest(image, publics)
    disk = look(image)
    if disk.size != manifest.size:
        raise Tampered(f"the image has {disk.size} bytes and its manifest says {manifest.size}; build it again")
    found = mapped(image, manifest.slot)
    if found.outside != manifest.outside or found.extents != manifest.extents:
        wanted = {one.offset: one for one in manifest.extents}
        have = {one.offset: one for one in found.extents}
        at = min(place for place in {*wanted, *have} if wanted.get(place) != have.get(place))
        raise Tampered(f"the image is not as it was built, from byte {at} on; build it again, or copy it again")
    if _read(beside(image, BMAP)) not in {b"", bmap(disk.size, manifest.extents, manifest.slot)}:
        raise Tampered(f"{beside(image, BMAP)} is not the block map of this image; remove it, or build anew")
    bill = _read(beside(image, SBOM))
    if bill and hashlib.sha256(bill).digest() != manifest.sbom:
        raise Tampered(f"{beside(image, SBOM)} is not what the manifest speaks of; remove it, or build the image again")
    if Bootfs(disk, 0).place(SLOT) != manifest.slot:
        raise Tampered("the slot is not where the manifest says; build the image again")
    return manifest, slot_of(image, manifest.slot, publics)


def slot_of(image: Path, at: int, publics: tuple[bytes, ...]) -> SlotState:
    """Read the slot of an image or card at a place."""
    with image.open("rb") as file:
        file.seek(at)
        content = file.read(slot.SIZE)
    return judged(content, publics)


def judged(content: bytes, publics: tuple[bytes, ...]) -> SlotState:
    """Say what a slot holds."""
    try:
        seed = slot.choose(content, lambda message: verify_signed(message, publics))
    except Missing:
        return SlotState(state=BLANK, device="", wrong="")
    except Refused:
        receipt = slot.receipt_in(content)
        return SlotState(state=USED, device=receipt.device if receipt else "", wrong="")
    except WrongDevice:  # signed by the fleet, and sealed: its board alone reads for which device
        return SlotState(state=SEED, device="", wrong="")
    except PrivetError as error:
        return SlotState(state=NONE, device="", wrong=str(error))
    return SlotState(state=SEED, device=seed.device, wrong="")


def inspected(image: Path) -> dict[str, Any]:
    """Say what an image is, with nothing needed but the image; where its layout is not known, say why."""
    disk = look(image)
    root, boot = Rootfs(disk, 0), Bootfs(disk, 0)
    try:
        layout, why = layout_of(disk, root, boot).name, ""
    except Refused as error:
        layout, why = "", str(error)
    status = root.reads((STATUS,)).get(STATUS, b"").decode("utf-8", "replace")
    listed = {one.get("Package", ""): one.get("Version", "") for one in paragraphs(status)}
    names = boot.names()
    honoured = {name for row in known()[1] for name in row.names}
    parts = {"boot": (disk.boot, disk.fat.label), "root": (disk.root, disk.ext.label)}
    shown = {name: {"start": part.start, "size": part.length, "label": label} for name, (part, label) in parts.items()}
    return {
        "layout": layout, "why": why, "size": disk.size, "disk": disk.signature, **shown,
        "free": disk.ext.free * disk.ext.block, "packages": len(listed), "privet": listed.get("privet", ""),
        "honoured": sorted(name for name in names if name.lower() in honoured),
        "slot": boot.place(SLOT) if SLOT in names else None,
        "slot_state": unverified(boot.read(SLOT)) if SLOT in names else "",
    }  # fmt: skip


def unverified(content: bytes) -> str:
    """Say what a slot claims to hold."""
    if slot.used(content):
        return USED
    try:
        kinds = {slot.decode_half(half).kind for half in slot.halves(content)}
    except PrivetError:
        return NONE
    return SEED if slot.SEED in kinds else BLANK


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
