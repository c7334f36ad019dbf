"""COSE and message layouts: two independent COSE libraries read what we write, and we read what they write."""

import cbor2
import cwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st
from pycose.headers import KID, Algorithm
from pycose.keys.curves import Ed25519
from pycose.keys.okp import OKPKey
from pycose.messages.enc0message import Enc0Message
from pycose.messages.sign1message import Sign1Message

from agent.core import cose
from agent.core.errors import BadInput

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
KID_OF_KEY = cose.key_id(PUBLIC)
STREAM = cose.Stream(fleet="meadow", device="d1", purpose="comfort", boot=7, epoch=2)
KEY = bytes(range(32, 64))


def signed(payload: bytes) -> bytes:
    """Sign as a host does."""
    return cose.sign1(payload, KID_OF_KEY, PRIVATE.sign)


def sealed(plain: bytes, aad: bytes, seq: int = 9) -> bytes:
    """Seal as a device does."""
    protected, number = cose.epoch_header(STREAM.epoch), cose.nonce(STREAM.boot, seq)
    return cose.join_encrypt0(
        protected, number, ChaCha20Poly1305(KEY).encrypt(number, plain, cose.to_be_bound(protected, aad))
    )


@given(st.binary(max_size=300))
def test_both_libraries_verify_our_signature(payload):
    """The libraries cwt and pycose accept our COSE_Sign1 and find the payload in it."""
    key = cwt.COSEKey.from_pem(pem_of_public(), kid=KID_OF_KEY)
    assert cwt.COSE.new().decode(signed(payload), key) == payload
    message = Sign1Message.decode(signed(payload))
    message.key = OKPKey(crv=Ed25519, x=PUBLIC)
    assert message.verify_signature() and message.payload == payload
    assert message.phdr[KID] == KID_OF_KEY and message.phdr[Algorithm].identifier == cose.EDDSA


@given(st.binary(max_size=300))
def test_we_read_the_signatures_of_both_libraries(payload):
    """A COSE_Sign1 made by cwt or pycose comes apart into what our Ed25519 verifies."""
    by_cwt = cwt.COSE.new().encode_and_sign(
        payload,
        cwt.COSEKey.from_pem(pem_of_private(), kid=KID_OF_KEY),
        protected={cose.ALGORITHM: cose.EDDSA, cose.KID: KID_OF_KEY},
    )
    message = Sign1Message(phdr={Algorithm: cose.EDDSA, KID: KID_OF_KEY}, payload=payload)
    message.key = OKPKey(crv=Ed25519, x=PUBLIC, d=PRIVATE.private_bytes_raw())
    for made in (by_cwt, message.encode()):
        parts = cose.split_sign1(made, 1000)
        assert (parts.payload, parts.kid) == (payload, KID_OF_KEY)
        PRIVATE.public_key().verify(parts.signature, parts.signed)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_both_libraries_bind_the_same_bytes(plain, aad):
    """Each of cwt and we open the other's COSE_Encrypt0; pycose, without this cipher, builds the same Enc_structure."""
    key = cwt.COSEKey.from_symmetric_key(KEY, alg="ChaCha20/Poly1305", kid=(2).to_bytes(4, "big"))
    assert cwt.COSE.new().decode(sealed(plain, aad), key, external_aad=aad) == plain
    theirs = cwt.COSE.new().encode_and_encrypt(
        plain,
        key,
        protected={cose.ALGORITHM: cose.CHACHA20_POLY1305, cose.KID: (2).to_bytes(4, "big")},
        unprotected={cose.IV: cose.nonce(7, 9)},
        external_aad=aad,
    )
    assert theirs == sealed(plain, aad)
    message = Enc0Message(phdr={Algorithm: "A256GCM", KID: b"key"}, external_aad=aad)
    assert message._enc_structure == cose.to_be_bound(message.phdr_encoded, aad)


def test_a_sealed_record_comes_apart():
    """Epoch, nonce and ciphertext are found again; the nonce is boot and seq."""
    parts = cose.split_encrypt0(sealed(b"plain", b"aad"), 1000)
    assert (parts.epoch, parts.nonce) == (2, b"\0\0\0\x07" + b"\0" * 7 + b"\x09")
    assert parts.protected == bytes.fromhex("a2011818044400000002")


def damaged_signatures() -> list[object]:
    """Everything that is nearly our COSE_Sign1."""
    tag = cbor2.loads(signed(b"payload"))
    protected, unprotected, payload, signature = tag.value
    header = cbor2.loads(protected)
    rows = [
        [protected, unprotected, payload],
        [protected, {1: -8}, payload, signature],
        [protected, unprotected, None, signature],
        [protected, unprotected, payload, signature[:-1]],
        [b"", unprotected, payload, signature],
        [protected + b"\0", unprotected, payload, signature],
    ]
    headers = [
        {1: -7, 4: header[4]},
        {1: -8},
        {4: header[4]},
        {1: -8, 4: b""},
        {1: -8, 4: "text"},
        {1: -8, 2: [9], 4: header[4]},
    ]
    headers += [{1: -8, 3: 0, 4: header[4]}, {1: -8, 4: header[4], 5: b""}]
    rows += [[cbor2.dumps(changed), unprotected, payload, signature] for changed in headers]
    return [cbor2.CBORTag(18, row) for row in rows] + [tag.value, cbor2.CBORTag(98, tag.value), cbor2.CBORTag(18, {})]


@pytest.mark.parametrize("value", damaged_signatures())
def test_other_forms_of_signature_are_refused(value):
    """No missing, added or changed part, other algorithm, critical header or tag gets past taking apart."""
    with pytest.raises(BadInput):
        cose.split_sign1(cbor2.dumps(value), 1000)


def damaged_records() -> list[object]:
    """Everything that is nearly our COSE_Encrypt0."""
    tag = cbor2.loads(sealed(b"plain", b""))
    protected, unprotected, ciphertext = tag.value
    rows = [
        [protected, unprotected],
        [protected, {}, ciphertext],
        [protected, {**unprotected, 6: b"x"}, ciphertext],
        [protected, {5: b"short"}, ciphertext],
        [protected, {5: "texttexttext"}, ciphertext],
        [protected, unprotected, b"shorter than tag"[:15]],
        [cbor2.dumps({1: 3, 4: b"\0\0\0\2"}), unprotected, ciphertext],
        [cbor2.dumps({1: 24, 4: b"\2"}), unprotected, ciphertext],
    ]
    return [cbor2.CBORTag(16, row) for row in rows] + [tag.value, cbor2.CBORTag(96, tag.value)]


@pytest.mark.parametrize("value", damaged_records())
def test_other_forms_of_record_are_refused(value):
    """No missing, added or changed part, other algorithm or tag gets past taking apart."""
    with pytest.raises(BadInput):
        cose.split_encrypt0(cbor2.dumps(value), 1000)


@given(st.binary(max_size=120))
def test_bytes_of_anybody_are_bad_input(raw):
    """Arbitrary bytes are refused by each of the three splitters with BadInput and nothing else."""
    for split in (cose.split_sign1, cose.split_encrypt0, cose.split_ack):
        with pytest.raises(BadInput):
            split(raw, 1000)


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_an_acknowledgement_comes_apart(purpose, recipient, boot, seq):
    """What a recipient joins, the device splits into the same facts."""
    mac = bytes(range(32))
    parts = cose.split_ack(cbor2.dumps([1, purpose, recipient, boot, seq, mac]))
    assert parts == cose.Received(purpose=purpose, recipient=recipient, boot=boot, seq=seq, mac=mac)
    assert cose.join_ack(purpose, recipient, boot, seq, mac) == cbor2.dumps([1, purpose, recipient, boot, seq, mac])


@pytest.mark.parametrize(
    "value",
    [[2, "p", "r", 1, 1, bytes(32)], [1, "p", "r", 0, 1, bytes(32)], [1, "p", "r", 1, 2**64, bytes(32)],
     [1, "p", "r", 2**32, 1, bytes(32)], [1, "p", "r", 1, -1, bytes(32)], [1, "p", "r", 1, 1, bytes(31)],
     [1, "p", "r", True, 1, bytes(32)], [1, b"p", "r", 1, 1, bytes(32)], [1, "p", "r", 1, 1], {}, 1],
)  # fmt: skip
def test_other_forms_of_acknowledgement_are_refused(value):
    """Another version, kind, range or length is refused."""
    with pytest.raises(BadInput):
        cose.split_ack(cbor2.dumps(value))


def test_layouts_are_those_of_the_format():
    """Each small layout has exactly the members that provisioning/FORMAT.md lists."""
    assert cbor2.loads(cose.key_context(STREAM, "home")) == ["privet key 1", "d1", "comfort", 7, 2, "home"]
    assert cbor2.loads(cose.record_context(STREAM, 9)) == ["privet up 1", "meadow", "d1", "comfort", 7, 2, 9]
    assert cbor2.loads(cose.ack_plain("d1", "comfort", "home", 7, 9)) == ["privet ack 1", "d1", "comfort", "home", 7, 9]
    assert cbor2.loads(cose.key_plain(b"k", b"a")) == [b"k", b"a"]
    assert cbor2.loads(cose.key_body(2, {"home": b"w"})) == ["key", 2, {"home": b"w"}]
    assert cbor2.loads(cose.gap_plain(1, 2, 3, 4, 5)) == ["gap", 1, 2, 3, 4, 5]
    assert cbor2.loads(cose.message(7, 300, cose.key_body(2, {}))) == [1, 7, 300, ["key", 2, {}]]


def pem_of_public() -> bytes:
    """Return the public key as cwt wants it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def pem_of_private() -> bytes:
    """Return the private key as cwt wants it."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
