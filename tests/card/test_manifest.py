"""The manifest of an image: what is signed is read, nothing else is, and every changed extent is found."""

import hashlib
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.errors import BadInput, Missing, PrivetError, Tampered
from agent.core.record import replace
from provisioning.card import manifest
from provisioning.card.manifest import Extent, Manifest
from provisioning.profile.sign import sign

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), Ed25519PrivateKey.generate()
PUBLICS = (KEY.public_key().public_bytes_raw(),)
IMAGE = bytes(range(256)) * 16 * 8  # eight blocks


def extent(offset: int, length: int) -> Extent:
    """Return an extent of the image above."""
    return Extent(offset, length, hashlib.sha256(IMAGE[offset : offset + length]).digest())


def made(*extents: Extent, slot: int = 8192, size: int = 8 * 4096) -> Manifest:
    """Make a manifest of it."""
    whole = hashlib.sha256(IMAGE[:slot] + IMAGE[slot + 8192 :]).digest()
    return Manifest(
        size=size, slot=slot, extents=extents, outside=whole, layout="trixie", fleet="meadow",
        model="base", sequence=3, policy=b"p" * 32, anchor=b"a" * 32, package="1.0", sbom=b"s" * 32, made=1_790_000_000,
    )  # fmt: skip


WHOLE = made(extent(0, 8192), extent(16384, 4096), extent(20480, 8192))


def read(offset: int, length: int) -> bytes:
    """Read the image."""
    return IMAGE[offset : offset + length]


def test_a_manifest_is_read_back(tmp_path: Path):
    """What was signed is found beside the image, and counts the bytes outside the slot."""
    image = tmp_path / "card.img"
    (tmp_path / "card.img.manifest").write_bytes(manifest.sign_manifest(WHOLE, KEY))
    found = manifest.open_manifest(image, PUBLICS)
    assert found == WHOLE and found.mapped == 20480 and found.slot_size == 8192


@given(place=st.integers(0, 8 * 4096 - 1))
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_found_where_it_is(place):
    """One changed byte in an extent names that extent; one in the slot or in no extent names none."""

    def changed(offset: int, length: int) -> bytes:
        copy = bytearray(IMAGE)
        copy[place] ^= 1
        return bytes(copy[offset : offset + length])

    wrong = manifest.first_wrong(WHOLE, changed)
    holders = [one for one in WHOLE.extents if one.offset <= place < one.offset + one.length]
    assert ([wrong] if wrong else []) == holders
    assert manifest.first_wrong(WHOLE, read) is None


@pytest.mark.parametrize(
    "wrong",
    [
        made(extent(0, 8192), slot=4096),
        made(extent(8192, 4096)),
        made(extent(12288, 4096)),
        made(extent(4096, 4096), extent(0, 4096)),
        made(extent(16384, 8192), extent(20480, 4096)),
        made(extent(100, 4096)),
        made(extent(0, 100)),
        made(extent(0, 4096), slot=8191),
        made(extent(0, 4096), slot=28672),
        made(Extent(0, (8 << 20) + 4096, bytes(32)), slot=9 << 20, size=16 << 20),
        made(Extent(0, 4096, b"short")),
        made(Extent(32768, 4096, bytes(32))),
        made(extent(0, 4096), size=8 * 4096 + 1),
        replace(WHOLE, outside=bytes(31)),
        replace(WHOLE, anchor=b""),
    ],
)
def test_no_map_is_signed_that_makes_no_sense(wrong):
    """Extents over the slot, over each other, outside, out of order or off the blocks, and short digests: refused."""
    with pytest.raises(BadInput, match="no manifest"):
        manifest.sign_manifest(wrong, KEY)


def test_other_hands_and_other_bytes_are_told_apart(tmp_path: Path):
    """A stranger's signature, a policy in its place, garbage, an absent and a huge file: one sentence each."""
    with pytest.raises(Tampered, match="not signed by this fleet"):
        manifest.read_manifest(manifest.sign_manifest(WHOLE, OTHER), PUBLICS)
    with pytest.raises(BadInput, match="no manifest"):
        manifest.read_manifest(sign(cbor2.dumps({"v": 1}), KEY), PUBLICS)
    with pytest.raises(BadInput, match="too large"):
        manifest.read_manifest(bytes(1 << 19), PUBLICS)
    with pytest.raises(Missing, match="keep the manifest beside the image"):
        manifest.open_manifest(tmp_path / "card.img", PUBLICS)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_payloads_of_anybody_are_an_error_of_ours(raw):
    """Whatever was signed by mistake, the answer is one of our sentences."""
    with pytest.raises(PrivetError):
        manifest.read_manifest(sign(raw, KEY), PUBLICS)
