"""Sealing: known answers made by other code, an independent opener, and every single changed bit refused."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from agent.core import cbor, cose, journal
from agent.core.errors import BadInput, BadPolicy, Failed, Tampered
from agent.core.secret import Secret
from agent.system import sealing

KNOWN = json.loads((Path(__file__).resolve().parents[1] / "vectors/sealed.json").read_text())
TELEMETRY = KNOWN["telemetry"]
STREAM = cose.Stream(
    fleet=TELEMETRY["fleet"],
    device=TELEMETRY["device"],
    purpose=TELEMETRY["purpose"],
    boot=TELEMETRY["boot"],
    epoch=TELEMETRY["epoch"],
)
EPOCH_KEY = Secret(bytes.fromhex(TELEMETRY["epoch_key"]))
STATE_KEY = Secret(bytes.fromhex(KNOWN["state"]["key"]))
SIGNER = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(KNOWN["policy"]["private"]))
PUBLIC = bytes.fromhex(KNOWN["policy"]["public"])


def labeled_extract(suite: bytes, salt: bytes, label: bytes, content: bytes) -> bytes:
    """HPKE's extract (RFC 9180 section 4)."""
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + content, "sha256")


def labeled_expand(suite: bytes, secret: bytes, label: bytes, content: bytes, length: int) -> bytes:
    """HPKE's expand, for at most one block."""
    message = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + content
    return hmac.digest(secret, message + b"\x01", "sha256")[:length]


def unwrap(recipient: dict[str, str], wrapped: bytes, place: bytes) -> bytes:
    """Open a wrapped key from the words of FORMAT.md 3.2 alone, without the library's HPKE."""
    mlkem = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(recipient["mlkem_seed"]))
    x25519 = X25519PrivateKey.from_private_bytes(bytes.fromhex(recipient["x25519_private"]))
    lattice, ephemeral, box = wrapped[:1088], wrapped[1088:1120], wrapped[1120:]
    shared = hashlib.sha3_256(
        mlkem.decapsulate(lattice)
        + x25519.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        + ephemeral
        + x25519.public_key().public_bytes_raw()
        + bytes.fromhex("5c2e2f2f5e5c")
    ).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010003")
    context = b"\x00" + labeled_extract(suite, b"", b"psk_id_hash", b"")
    context += labeled_extract(suite, b"", b"info_hash", place)
    secret = labeled_extract(suite, shared, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    return ChaCha20Poly1305(key).decrypt(nonce, box, b"")


def test_a_wrapped_key_opens_by_the_words_of_the_format():
    """The known key record opens with plain ML-KEM, X25519, SHA-3 and HKDF, so the page names the suite rightly."""
    label, epoch, wrapped = cbor2.loads(bytes.fromhex(TELEMETRY["key"]["body"]))
    assert (label, epoch) == ("key", STREAM.epoch)
    for recipient in TELEMETRY["recipients"]:
        bound = cbor2.dumps(["privet key 1", STREAM.device, STREAM.purpose, STREAM.boot, epoch, recipient["id"]])
        keys = cbor2.loads(unwrap(recipient, wrapped[recipient["id"]], bound))
        assert [key.hex() for key in keys] == [TELEMETRY["epoch_key"], recipient["ack_key"]]


def test_a_consent_is_inside_the_seal_as_the_page_has_it():
    """The known key record with consents opens by its words, each recipient's own in it, and has the length given."""
    told, body = KNOWN["consented"], bytes.fromhex(KNOWN["consented"]["key"]["body"])
    _, epoch, wrapped = cbor2.loads(body)
    for recipient in TELEMETRY["recipients"]:
        name = recipient["id"]
        assert len(wrapped[name]) == 1279
        bound = cbor2.dumps(["privet key 1", STREAM.device, STREAM.purpose, STREAM.boot, epoch, name])
        parts = cbor2.loads(unwrap(recipient, wrapped[name], bound))
        assert [part.hex() for part in parts] == [
            TELEMETRY["epoch_key"], recipient["ack_key"], told["consents"][name],
        ]  # fmt: skip


def test_a_new_epoch_tells_each_recipient_of_its_own_consent():
    """Nobody is told of another's; who is told nothing gets the two keys alone."""
    recipients = TELEMETRY["recipients"]
    pairs = [(r["id"], bytes.fromhex(r["public"])) for r in recipients]
    _, _, wrapped = cbor2.loads(sealing.new_epoch(STREAM, pairs, told={"home": b"c" * 72}).body)
    found = {
        r["id"]: cbor2.loads(unwrap(r, wrapped[r["id"]], cose.key_context(STREAM, r["id"])))[2:] for r in recipients
    }
    assert found == {"home": [b"c" * 72], "maker": []}


def test_a_new_epoch_opens_for_each_recipient_alone():
    """Each recipient finds the epoch key and an own ack key; another place, name or recipient's key opens nothing."""
    recipients = TELEMETRY["recipients"]
    epoch = sealing.new_epoch(STREAM, [(r["id"], bytes.fromhex(r["public"])) for r in recipients])
    label, number, wrapped = cbor2.loads(epoch.body)
    assert (label, number, sorted(wrapped)) == ("key", 2, ["home", "maker"])
    for recipient, other in (recipients, recipients[::-1]):
        name = recipient["id"]
        bound = cose.key_context(STREAM, name)
        assert cbor2.loads(unwrap(recipient, wrapped[name], bound)) == [epoch.key.reveal(), epoch.acks[name].reveal()]
        for key, place in ((other, bound), (recipient, bound + b"x")):
            with pytest.raises(InvalidTag):
                unwrap(key, wrapped[name], place)
    assert epoch.acks["home"] != epoch.acks["maker"] and "<secret>" in repr(epoch)
    assert epoch != sealing.new_epoch(STREAM, [])


@pytest.mark.parametrize("key", [b"", bytes(1216), b"\xff" * 1216, bytes(1215), bytes(1184)])
def test_a_key_that_is_none_is_a_bad_policy(key):
    """A recipient's key of wrong length, out of range or all zero is refused with the recipient's name."""
    with pytest.raises(BadPolicy, match="'home'"):
        sealing.new_epoch(STREAM, [("home", key)])


def test_records_are_the_known_ones():
    """Under the known key our sealed bytes, bound bytes and messages are those the independent code made."""
    rows = TELEMETRY["records"]
    sealed = sealing.seal_records(EPOCH_KEY, STREAM, [(r["seq"], bytes.fromhex(r["plain"])) for r in rows])
    assert [body.hex() for body in sealed] == [row["body"] for row in rows]
    for row, body in zip(rows, sealed, strict=True):
        parts = cose.split_encrypt0(body, 1000)
        assert cose.to_be_bound(parts.protected, cose.record_context(STREAM, row["seq"])).hex() == row["aad"]
        assert cose.message(STREAM.boot, row["seq"], body).hex() == row["payload"]
    key = TELEMETRY["key"]
    assert cose.message(STREAM.boot, key["seq"], bytes.fromhex(key["body"])).hex() == key["payload"]


def test_acknowledgements_are_the_known_ones():
    """The device splits the known acknowledgements and finds the mac it expects."""
    keys = {r["id"]: bytes.fromhex(r["ack_key"]) for r in TELEMETRY["recipients"]}
    for row in TELEMETRY["acknowledgements"]:
        ack = cose.split_ack(bytes.fromhex(row["payload"]))
        plain = cose.ack_plain(STREAM.device, ack.purpose, ack.recipient, ack.boot, ack.seq)
        assert (ack.recipient, ack.seq) == (row["recipient"], row["seq"])
        assert hmac.digest(keys[ack.recipient], plain, "sha256") == ack.mac


@pytest.mark.parametrize("numbers", [[5, 5], [5, 4], [0], [1, 3, 2]])
def test_no_number_is_sealed_twice(numbers):
    """A number that comes again or backwards would repeat a nonce: nothing is sealed then."""
    with pytest.raises(Failed, match="same number"):
        sealing.seal_records(EPOCH_KEY, STREAM, [(number, b"x") for number in numbers])


def test_the_policy_is_the_known_one():
    """The known policy is verified, and signing the known payload gives the known bytes."""
    signed = bytes.fromhex(KNOWN["policy"]["signed"])
    payload = sealing.verify_policy(signed, [bytes(32), PUBLIC])
    assert payload.hex() == KNOWN["policy"]["payload"]
    assert cose.sign1(payload, cose.key_id(PUBLIC), SIGNER.sign) == signed


def test_every_changed_bit_of_a_policy_is_refused():
    """No single bit can change: each of them makes a BadPolicy."""
    signed = bytes.fromhex(KNOWN["policy"]["signed"])
    for place in range(len(signed) * 8):
        changed = bytearray(signed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(BadPolicy):
            sealing.verify_policy(bytes(changed), [PUBLIC])


def by_another_key(payload: bytes) -> bytes:
    """Sign with a stranger's key under the trusted key's id."""
    return cose.sign1(payload, cose.key_id(PUBLIC), Ed25519PrivateKey.from_private_bytes(bytes(32)).sign)


@pytest.mark.parametrize(
    ("message", "keys", "said"),
    [
        (b"", [PUBLIC], "no signed policy"),
        (b"\x00" * 300_000, [PUBLIC], "at most"),
        (cose.sign1(bytes(262_145), cose.key_id(PUBLIC), SIGNER.sign), [PUBLIC], "more than 262144"),
        (bytes.fromhex(KNOWN["policy"]["signed"])[:-1], [PUBLIC], "end inside"),
        (bytes.fromhex(KNOWN["policy"]["signed"]), [], "does not trust"),
        (by_another_key(b"payload"), [PUBLIC], "signature is wrong"),
    ],
)
def test_bad_policies_say_why(message, keys, said):
    """Empty, oversized, truncated, stranger's and forged policies each get their own sentence."""
    with pytest.raises(BadPolicy, match=said):
        sealing.verify_policy(message, keys)


@given(st.binary(max_size=200))
def test_bytes_of_anybody_are_a_bad_policy(raw):
    """Arbitrary bytes raise BadPolicy and nothing else."""
    with pytest.raises(BadPolicy):
        sealing.verify_policy(raw, [PUBLIC])


def test_state_is_the_known_one():
    """What the independent code sealed opens here, values and journal entries, and the chain is whole."""
    value, previous, rows = KNOWN["state"]["value"], journal.START, []
    place = cbor.encode(["privet value 1", value["name"]])
    assert sealing.unseal(STATE_KEY, bytes.fromhex(value["sealed"]), place).hex() == value["plain"]
    for seq, row in enumerate(KNOWN["state"]["entries"], 1):
        sealed = bytes.fromhex(row["sealed"])
        assert journal.context(seq, previous).hex() == row["aad"]
        plain = sealing.unseal(STATE_KEY, sealed, journal.context(seq, previous))
        assert plain == journal.write_entry(journal.read_entry(plain)) == bytes.fromhex(row["plain"])
        rows.append(journal.Row(seq=seq, sealed=sealed, digest=bytes.fromhex(row["digest"])))
        previous = rows[-1].digest
    assert journal.verify(rows, journal.Head(count=len(rows), digest=previous)).damage == ""


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_sealed_state_comes_back_and_differs_each_time(plain, aad):
    """What is sealed opens again; the same plaintext is sealed to other bytes every time."""
    sealed = sealing.seal(STATE_KEY, plain, aad)
    assert sealing.unseal(STATE_KEY, sealed, aad) == plain
    assert sealed != sealing.seal(STATE_KEY, plain, aad)


def refusals() -> list[tuple[str, Callable[[bytes], Any]]]:
    """Ways to meddle with sealed state."""
    return [
        ("cut", lambda sealed: sealing.unseal(STATE_KEY, sealed[:-1], b"place")),
        ("empty", lambda _: sealing.unseal(STATE_KEY, b"", b"place")),
        ("moved", lambda sealed: sealing.unseal(STATE_KEY, sealed, b"other place")),
        ("other key", lambda sealed: sealing.unseal(Secret(bytes(32)), sealed, b"place")),
        ("other form", lambda sealed: sealing.unseal(STATE_KEY, b"\x02" + sealed[1:], b"place")),
    ]


@pytest.mark.parametrize(("name", "meddle"), refusals())
def test_meddled_state_is_tampered(name, meddle):
    """Cut, moved, sealed by another key or of another form: Tampered."""
    with pytest.raises(Tampered):
        meddle(sealing.seal(STATE_KEY, b"plain", b"place"))


def test_every_changed_bit_of_sealed_state_is_tampered():
    """No single bit can change."""
    sealed = sealing.seal(STATE_KEY, b"plain", b"place")
    for place in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(Tampered):
            sealing.unseal(STATE_KEY, bytes(changed), b"place")


def test_an_identity_is_a_p256_key_and_a_request_for_it():
    """The request carries the device id, is signed by the key that came with it, and the key is wrapped."""
    made = sealing.new_identity("r7k2")
    request = x509.load_pem_x509_csr(made.request)
    private = load_pem_private_key(made.key.reveal(), None)
    assert request.subject.rfc4514_string() == "CN=r7k2" and request.is_signature_valid
    assert request.public_key() == private.public_key() and "PRIVATE" not in repr(made)
    assert made.key != sealing.new_identity("r7k2").key


@pytest.mark.parametrize("device", ["", "x" * 65])
def test_an_identity_without_a_usable_id_is_refused(device):
    """A common name has 1 to 64 letters."""
    with pytest.raises(BadInput):
        sealing.new_identity(device)
