"""The seed slot: what is written is read, whatever is cut or forged is told apart, and nothing shows the token."""

import hashlib

import cbor2
import cwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core import cose, seed, slot
from agent.core.errors import BadInput, Missing, PrivetError, Refused, Tampered
from agent.core.record import replace
from agent.core.secret import Secret
from agent.system.sealing import verify_policy
from provisioning.profile.sign import sign, verify

FLEET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = FLEET.public_key().public_bytes_raw()
TOKEN = bytes(range(100, 132))
MADE = seed.Seed(
    device="d-0011", token=Secret(TOKEN), enrol_host="enrol.example", enrol_port=8443, broker_host="broker.example",
    broker_port=8883, anchor=b"a" * 32, floor=1_790_000_000, policy=b"p" * 32, sequence=7, serial="10000000abcd0001",
)  # fmt: skip
SEED = slot.encode_half(slot.SEED, sign(seed.seed_payload(MADE), FLEET))
BLANK = slot.encode_half(slot.BLANK)
DEVICE = ec.derive_private_key(7, ec.SECP256R1())
SPKI = DEVICE.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)  # fmt: skip


def by_device(signed: bytes) -> bytes:
    """Sign as a device does: r and s, 32 bytes each."""
    r, s = decode_dss_signature(DEVICE.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


RECEIPT = seed.Receipt(device="d-0011", key=hashlib.sha256(SPKI).digest(), time=1_790_000_100)
SIGNED_RECEIPT = cose.sign1(seed.receipt_payload(RECEIPT), cose.key_id(SPKI), by_device, cose.ES256)
USED = slot.encode_half(slot.RECEIPT, SIGNED_RECEIPT)


def on_device(message: bytes) -> bytes:
    """Verify as a device does."""
    return verify_policy(message, [PUBLIC])


def on_host(message: bytes) -> bytes:
    """Verify as a host does."""
    return verify(message, (PUBLIC,))


@pytest.mark.parametrize("seam", [on_device, on_host])
def test_a_seed_is_read_back(seam):
    """What the host signs, the device's vault and the host itself read as it was."""
    assert slot.choose(SEED + SEED, seam) == MADE
    assert not slot.used(SEED + SEED)
    assert len(slot.whole(slot.SEED, b"x")) == len(slot.blank()) == slot.SIZE


@pytest.mark.parametrize("seam", [on_device, on_host])
@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (SEED, BadInput, "the slot has 4096 bytes where 8192 belong"),
        (bytes(8192), BadInput, "nothing that Privet wrote"),
        (b"\xff" * 8192, BadInput, "nothing that Privet wrote"),
        ((SEED[:9] + b"\x02" + SEED[10:]) * 2, BadInput, "in form 2, this version of Privet reads form 1"),
        ((SEED[:100] + bytes(3996)) * 2, Tampered, "not signed by this fleet"),
        ((SEED[:-1] + b"\1") * 2, BadInput, "damaged"),
        ((SEED[:12] + b"\xff" + SEED[13:]) * 2, BadInput, "damaged"),
        (slot.blank(), Missing, "no seed yet"),
        (USED + USED, Refused, "was used by d-0011"),
        (USED + SEED, Refused, "was used by d-0011"),
        (slot.whole(slot.SEED, sign(seed.seed_payload(MADE), OTHER)), Tampered, "not signed by this fleet"),
        (slot.whole(slot.SEED, sign(cbor2.dumps({"v": 1}), FLEET)), BadInput, "is no seed"),
        (slot.whole(slot.SEED, SIGNED_RECEIPT), Tampered, "not signed by this fleet"),
        (bytes(4096) + slot.encode_half(slot.SEED, sign(b"\x80", OTHER)), Tampered, "not signed by this fleet"),
    ],
)
def test_each_fault_has_its_sentence(seam, content, kind, said):
    """Short, empty, foreign, newer, torn, damaged, blank, used and forged slots each say so, in one sentence."""
    with pytest.raises(kind, match=said) as caught:
        slot.choose(content, seam)
    assert type(caught.value) is kind and "\n" not in str(caught.value)


def test_of_two_seeds_of_one_moment_the_first_counts():
    """Two halves that differ and are equally old: both sides take the first, so that both take the same."""
    other = slot.encode_half(slot.SEED, sign(seed.seed_payload(replace(MADE, device="d-0013")), FLEET))
    assert slot.choose(SEED + other, on_device) == MADE
    assert slot.choose(other + SEED, on_device).device == "d-0013"


@given(at=st.integers(0, slot.SIZE))
@settings(max_examples=60, deadline=None)
@example(at=0)
@example(at=slot.HALF)
@example(at=slot.SIZE)
def test_a_cut_while_a_new_seed_is_written_leaves_one_of_both(at):
    """A station that is cut at any byte of rewriting leaves the former seed or the new one."""
    later = replace(MADE, floor=MADE.floor + 9, device="d-0012")
    new = slot.encode_half(slot.SEED, sign(seed.seed_payload(later), FLEET)) * 2
    found = slot.choose(new[:at] + (SEED + SEED)[at:], on_host)
    assert found in (MADE, later)
    assert at < slot.SIZE or found == later


@given(at=st.integers(0, slot.SIZE))
@settings(max_examples=60, deadline=None)
@example(at=0)
@example(at=slot.HALF)
def test_a_cut_while_the_receipt_is_written_leaves_a_seed_or_a_used_slot(at):
    """A device that is cut at any byte has its seed to go on with, or has it no more because it is done."""
    content = (USED + USED)[:at] + (SEED + SEED)[at:]
    if slot.used(content):
        assert slot.receipt_in(content) == RECEIPT
    else:
        assert slot.choose(content, on_host) == MADE
    assert slot.used(content) or at < slot.HALF


@given(place=st.integers(0, slot.HALF * 8 - 1))
@settings(max_examples=300, deadline=None)
def test_no_changed_bit_passes(place):
    """One changed bit anywhere in a lone half makes it no seed at all."""
    changed = bytearray(SEED)
    changed[place // 8] ^= 1 << place % 8
    with pytest.raises(PrivetError):
        slot.choose(bytes(changed) + BLANK, on_host)


@given(st.binary(max_size=300), st.sampled_from([b"", SEED[:16], USED[:16], USED[:60]]))
@settings(max_examples=200, deadline=None)
def test_bytes_of_anybody_are_an_error_of_ours(raw, start):
    """Whatever stands on a card, the answer is one of our sentences."""
    half = (start + raw).ljust(slot.HALF, raw[:1] or b"\0")
    with pytest.raises(PrivetError):
        slot.choose(half + half, on_device)


@pytest.mark.parametrize(
    "change",
    [
        {"device": ""}, {"device": "D 1"}, {"token": Secret(b"x")}, {"anchor": b""}, {"policy": b"p" * 31},
        {"floor": 0}, {"sequence": 0}, {"serial": "9" * 65}, {"enrol_host": ""}, {"enrol_port": 0}, {"broker_port": 0},
        {"enrol_host": "a\u202eb"}, {"broker_port": 65536},
    ],
)  # fmt: skip
def test_no_seed_is_signed_that_no_device_would_take(change):
    """The host finds a wrong name, length, time or server before it signs."""
    with pytest.raises(BadInput):
        seed.seed_payload(replace(MADE, **change))


def test_a_receipt_is_the_devices_own():
    """An independent library verifies a receipt with the device's public key; the key's digest is in it."""
    key = cwt.COSEKey.from_pem(
        DEVICE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        kid=cose.key_id(SPKI),
    )
    payload = cwt.COSE.new().decode(slot.decode_half(USED).message, key)
    assert seed.read_receipt(payload) == RECEIPT
    assert slot.receipt_in(bytes(4096) + USED) == RECEIPT


def test_the_token_shows_nowhere_but_in_the_slot():
    """Printing a seed does not print its token, and the receipt's slot no longer has it."""
    assert TOKEN in SEED and repr(TOKEN) not in repr(MADE) and "<secret>" in repr(MADE)
    assert TOKEN not in USED + USED
