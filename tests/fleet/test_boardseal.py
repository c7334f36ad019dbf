"""Seeds sealed to boards, from the station's list to the slot, opened by a second reading of FORMAT.md 5.4."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.core.errors import BadInput
from agent.core.secret import Secret
from agent.core.slot import whole
from agent.system import unsealing
from provisioning.card.judged import judged
from provisioning.card.told import half, state
from provisioning.fleet.boards import read_boards, read_serials
from provisioning.fleet.boardseal import sealed
from provisioning.fleet.registry import Planned
from provisioning.fleet.slots import places_of, slots
from tests.fleet.enrolling import Office

KNOWN = json.loads((Path(__file__).resolve().parents[1] / "vectors/board.json").read_text())
SECRET = bytes.fromhex(KNOWN["secret"])
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def expanded(secret: bytes) -> bytes:
    """Do HKDF-SHA256 without a salt by hand (RFC 5869): 96 bytes."""
    base = hmac.digest(bytes(32), secret, "sha256")
    made, block = b"", b""
    for number in (1, 2, 3):
        block = hmac.digest(base, block + b"privet board key 1" + bytes([number]), "sha256")
        made += block
    return made


def keys() -> hpke.MLKEM768X25519PrivateKey:
    """Return the key of the known board."""
    made = expanded(SECRET)
    lattice, curve = MLKEM768PrivateKey.from_seed_bytes(made[:64]), X25519PrivateKey.from_private_bytes(made[64:])
    return hpke.MLKEM768X25519PrivateKey(lattice, curve)


def public() -> bytes:
    """Return its public half, made by hand."""
    made = expanded(SECRET)
    lattice = MLKEM768PrivateKey.from_seed_bytes(made[:64]).public_key().public_bytes_raw()
    return lattice + X25519PrivateKey.from_private_bytes(made[64:]).public_key().public_bytes_raw()


def test_known_answers():
    """The public key of a known secret, and a seed that was once sealed to it, on both sides."""
    assert hashlib.sha256(public()).hexdigest() == KNOWN["public_sha256"]
    assert unsealing.public(Secret(SECRET)) == public()
    board, context = bytes.fromhex(KNOWN["board"]), bytes.fromhex(KNOWN["context"])
    assert context == cbor2.dumps(["privet seed to board 1", board, KNOWN["floor"]])
    box = bytes.fromhex(KNOWN["sealed"])
    assert SUITE.decrypt(box, keys(), info=context).hex() == KNOWN["payload"]
    assert unsealing.unseal(Secret(SECRET), board, context, box).hex() == KNOWN["payload"]


def test_a_slot_opens_by_the_format_alone(tmp_path: Path):
    """Cut, decoded and opened with cbor2 and HPKE: the seed of this device, and its token nowhere outside the seal."""
    office = Office(tmp_path / "office")
    places = places_of(office.fleet, b"policy", 7, 1_700_000_000, ("s.example", 8444))
    one, two = (Planned(device=f"d-{n:016x}", token=bytes([65 + n]) * 32) for n in (1, 2))
    first, second = slots(office.fleet, places, [one, two], ["A1", "B2"], [public(), b""])
    assert one.token not in first and two.token in second
    message = cbor2.loads(first[16 : 16 + int.from_bytes(first[12:16], "big")])
    form, table = cbor2.loads(message.value[2])
    assert form == "privet sealed seed 1" and table["floor"] == 1_700_000_000
    assert table["board"] == hashlib.sha256(public()).digest()[:8]
    context = cbor2.dumps(["privet seed to board 1", table["board"], table["floor"]])
    inner, seed = cbor2.loads(SUITE.decrypt(table["sealed"], keys(), info=context))
    assert (inner, seed["device"], seed["token"], seed["serial"]) == ("privet seed 1", one.device, one.token, "A1")
    assert first[:4096] == first[4096:] and whole(1, first[16 : 16 + int.from_bytes(first[12:16], "big")]) == first
    told = half(first[:4096])
    assert (told["holds"], told["board"], state(first)) == ("seed", table["board"].hex(), "seed")
    assert "device" not in told
    verdict = judged(first, (office.fleet.policy_key(),))
    assert (verdict.state, verdict.device, verdict.wrong) == ("seed", "", "")
    assert judged(first, (bytes(32),)).state == "none"


def test_each_seal_is_another():
    """The same seed twice: nobody can tell from the cards that two were sealed alike."""
    assert sealed(b"x", 1, public()).sealed != sealed(b"x", 1, public()).sealed


def test_a_list_brings_keys(tmp_path: Path):
    """A column called key, filled where it is known; what is no key is named with its line."""
    path = tmp_path / "boards.csv"
    text = base64.b64encode(public()).decode()
    path.write_text(f"serial,key\nA1,{text}\nB2,\nC3\n")
    assert [(one.serial, one.key) for one in read_boards(path)] == [("A1", public()), ("B2", b""), ("C3", b"")]
    assert read_serials(path) == ["A1", "B2", "C3"]
    for bad in ("hello", text[:-8], base64.b64encode(public() + b"x").decode(), "!"):
        path.write_text(f"serial,key\nA1,{text}\nB2,{bad}\n")
        with pytest.raises(BadInput, match=r"line 3: .*privet board-key"):
            read_boards(path)
