"""The signed manifest of an image: which bytes of it count, what they must be, where the slot is (FORMAT.md 6)."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core import cbor
from agent.core.errors import BadInput, BadPolicy, Missing, Tampered, Unreadable
from agent.core.policy import MAX_BYTES
from agent.core.record import Record
from agent.core.slot import SIZE as SLOT_SIZE
from provisioning.profile.sign import ENVELOPE, sign, verify

FORM = "privet image 1"
SUFFIX = ".manifest"  # after the name of the image
BLOCK = 4096  # bytes: every extent and the slot begin and end at a multiple
LONGEST = 8 << 20  # bytes of one extent
SHAPE = {
    "anchor": bytes, "class": str, "extents": list, "fleet": str, "layout": str, "made": int, "outside": bytes,
    "package": str, "policy": bytes, "sbom": bytes, "sequence": int, "size": int, "slot": int,
}  # fmt: skip
DIGESTS = ("anchor", "outside", "policy", "sbom")


class Extent(NamedTuple):
    """A stretch of the image that counts: where it begins, how long it is (bytes), its sha256."""

    offset: int
    length: int
    digest: bytes


class Manifest(Record):
    """What is known of an image. What lies in no extent and not in the slot is zeros. No extent touches the slot.

    `outside` is the sha256 of all bytes before the slot and all bytes after it. `policy`, `anchor` and `sbom` are
    sha256 digests: of the signed policy and of the root certificate (DER) in the image, and of the file beside it.
    `package` is the version of Privet in it, `sequence` the number of the policy.
    """

    __slots__ = (
        "anchor", "extents", "fleet", "layout", "made", "model", "outside", "package", "policy", "sbom", "sequence",
        "size", "slot",
    )  # fmt: skip
    size: int
    slot: int
    extents: tuple[Extent, ...]
    outside: bytes
    layout: str
    fleet: str
    model: str
    sequence: int
    policy: bytes
    anchor: bytes
    package: str
    sbom: bytes
    made: int

    @property
    def slot_size(self) -> int:
        """Return how many bytes the slot has, from `slot` on."""
        return SLOT_SIZE

    @property
    def mapped(self) -> int:
        """Return how many bytes count, the slot left out."""
        return sum(one.length for one in self.extents)


def first_wrong(manifest: Manifest, read: Callable[[int, int], bytes]) -> Extent | None:
    """Return the first extent that is not as it was, None when all are; `read` takes an offset and a length."""
    for one in manifest.extents:
        if hashlib.sha256(read(one.offset, one.length)).digest() != one.digest:
            return one
    return None


def sign_manifest(manifest: Manifest, key: Ed25519PrivateKey) -> bytes:
    """Return the manifest as a COSE_Sign1 of the key that signs policies."""
    table = {name: getattr(manifest, name) for name in SHAPE if name not in {"class", "extents"}}
    rows = [list(one) for one in manifest.extents]
    payload = cbor.encode([FORM, {**table, "class": manifest.model, "extents": rows}])
    if len(payload) > MAX_BYTES:
        raise BadInput("the image is too scattered for a manifest; build it from an image with fewer holes")
    _read(payload)
    return sign(payload, key)


def read_manifest(message: bytes, publics: tuple[bytes, ...]) -> Manifest:
    """Return a manifest signed by one of the raw public keys; Tampered when it is not, BadInput when it is none."""
    if len(message) > MAX_BYTES + ENVELOPE:
        raise BadInput("this is no manifest of an image: it is too large; give the file beside the image")
    try:
        payload = verify(message, publics)
    except BadPolicy:
        raise Tampered("the manifest is not signed by this fleet, or was changed; build the image again") from None
    return _read(payload)


def open_manifest(image: Path, publics: tuple[bytes, ...]) -> Manifest:
    """Read the manifest that lies beside an image."""
    path = image.with_name(image.name + SUFFIX)
    try:
        with path.open("rb") as file:
            message = file.read(MAX_BYTES + ENVELOPE + 1)
    except FileNotFoundError:
        raise Missing(f"{path} is not there; keep the manifest beside the image, or build the image again") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); check its rights") from None
    return read_manifest(message, publics)


def _read(payload: bytes) -> Manifest:
    wrong = BadInput("this is no manifest of an image; give the file beside the image")
    try:
        value = cbor.decode(payload, MAX_BYTES, 4)
    except BadInput:
        raise wrong from None
    shaped = isinstance(value, list) and len(value) == 2 and value[0] == FORM and isinstance(value[1], dict)
    if not shaped or set(value[1]) != set(SHAPE) or any(type(value[1][name]) is not SHAPE[name] for name in SHAPE):
        raise wrong
    table: dict[str, Any] = dict(value[1])
    extents = tuple(_extent(row, wrong) for row in table.pop("extents"))
    made = Manifest(model=table.pop("class"), extents=extents, **table)
    if any(len(table[name]) != 32 for name in DIGESTS) or not _sound(made):
        raise wrong
    return made


def _extent(row: Any, wrong: BadInput) -> Extent:
    if type(row) is not list or [type(one) for one in row] != [int, int, bytes] or len(row[2]) != 32:
        raise wrong
    return Extent(*row)


def _sound(made: Manifest) -> bool:
    """Say whether all is inside the image, on block boundaries, in order, and nothing lies over anything else."""
    at = 0
    for one in made.extents:
        if one.offset < at or not 0 < one.length <= LONGEST or one.offset % BLOCK or one.length % BLOCK:
            return False
        at = one.offset + one.length
        if one.offset < made.slot + SLOT_SIZE and made.slot < at:
            return False
    inside = 0 < made.slot <= made.size - SLOT_SIZE and made.slot % BLOCK == 0
    return inside and at <= made.size and made.size % BLOCK == 0
