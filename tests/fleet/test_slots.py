"""Slots of a batch: each is what the core would have written, whatever the ids and the serial numbers are."""

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.cose import key_id, sign1, split_sign1
from agent.core.errors import Failed
from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, choose, whole
from provisioning.fleet.registry import Planned
from provisioning.fleet.slots import Places, checked_slot, places_of, slots
from tests.fleet.enrolling import Office

SERIALS = st.text("0123456789abcdefABCXYZ.:-_", max_size=64)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Give a fleet."""
    made = Office(tmp_path_factory.mktemp("office"))
    made.fleet.safe.seal(broker_host="d" * 18, broker_port="8883")
    return made


@pytest.fixture(scope="module")
def places(office: Office) -> Places:
    """Give what a batch shares."""
    return places_of(office.fleet, b"policy", 7, 1_700_000_000, ("s.example", 8444))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), SERIALS), min_size=1, max_size=6))
def test_a_stamped_slot_is_the_one_the_core_writes(office: Office, places: Places, cards: list[tuple[bytes, str]]):
    """Byte for byte: the short way and the long way give the same, and a device reads its own seed in it."""
    planned = [Planned(device=f"d-{number:016x}", token=token) for number, (token, _) in enumerate(cards)]
    boards = [serial for _, serial in cards]
    key, root = office.fleet.signing_key(), x509.load_pem_x509_certificate(office.fleet.trust_anchor())
    for one, board, made in zip(planned, boards, slots(office.fleet, places, planned, boards), strict=True):
        seed = Seed(
            device=one.device,
            token=Secret(one.token),
            serial=board,
            floor=places.floor,
            enrol_host="s.example",
            enrol_port=8444,
            broker_host="d" * 18,
            broker_port=8883,
            anchor=root.fingerprint(hashes.SHA256()),
            policy=hashlib.sha256(b"policy").digest(),
            sequence=7,
        )
        kid = key_id(key.public_key().public_bytes_raw())
        assert made == whole(SEED, sign1(seed_payload(seed), kid, key.sign))


def test_a_wrong_slot_is_found_when_it_is_read_back(office: Office, places: Places):
    """Another device's slot, a flipped bit and another token are told apart from the right one."""
    one, two = (Planned(device=f"d-{n:016x}", token=bytes([n]) * 32) for n in (1, 2))
    made = next(slots(office.fleet, places, [one]))
    checked_slot(office.fleet, made, one, "")
    flipped = bytearray(made)
    flipped[100] ^= 1
    flipped[4096 + 100] ^= 1
    for slot, card, serial in [
        (made, two, ""),
        (bytes(flipped), one, ""),
        (made, Planned(device=one.device, token=bytes(32)), ""),
        (made, one, "10000000abcd1234"),
    ]:
        with pytest.raises(Failed):
            checked_slot(office.fleet, slot, card, serial)


def test_a_batch_of_a_thousand_has_a_thousand_tokens(office: Office, places: Places, tmp_path: Path):
    """No token and no id twice, and each slot verifies under the fleet's key."""
    _, cards = office.registry.batch(1000)
    made = list(slots(office.fleet, places, cards))
    assert len({one.token for one in cards}) == len({one.device for one in cards}) == len(set(made)) == 1000
    public = office.fleet.signing_key().public_key()

    def verified(message: bytes) -> bytes:
        signed = split_sign1(message, len(message))
        public.verify(signed.signature, signed.signed)
        return signed.payload

    for one, slot in list(zip(cards, made, strict=True))[::50]:
        seed = choose(slot, verified)
        assert (seed.device, seed.token.reveal()) == one
