"""COSE (RFC 9052) and message layouts: which bytes are signed, sealed and sent. Ciphers are passed in, none lives here.

provisioning/FORMAT.md has the same layouts in words; this module and the receiving side are written from it apart.
"""

import hashlib

from .cbor import Tag, decode, encode, head
from .errors import BadInput
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

SIGN1, ENCRYPT0 = 18, 16  # CBOR tags
ALGORITHM, KID, IV = 1, 4, 5  # header labels
EDDSA, ES256, CHACHA20_POLY1305 = -8, -7, 24  # algorithms
SIGNATURE, NONCE, MAC = 64, 12, 32  # lengths in bytes
MAX_BOOT, MAX_SEQ = (1 << 32) - 1, (1 << 64) - 1
NOT_ITEM = "this is no %s as Privet uses it; send it again"


class Signed(Record):
    """A COSE_Sign1 taken apart: key id, payload, signature, and the bytes it is over. Nothing is verified yet."""

    __slots__ = ("kid", "payload", "signature", "signed")
    kid: bytes
    payload: bytes
    signature: bytes
    signed: bytes


class Sealed(Record):
    """A COSE_Encrypt0 taken apart: epoch, nonce, ciphertext with tag, protected header. Nothing is opened yet."""

    __slots__ = ("ciphertext", "epoch", "nonce", "protected")
    epoch: int
    nonce: bytes
    ciphertext: bytes
    protected: bytes


class Stream(Record):
    """Where a record belongs: fleet, device, purpose, count of guard starts, epoch within that start."""

    __slots__ = ("boot", "device", "epoch", "fleet", "purpose")
    fleet: str
    device: str
    purpose: str
    boot: int
    epoch: int


class Received(Record):
    """An acknowledgement taken apart: all of a purpose up to (boot, seq) is stored, says the recipient; unchecked."""

    __slots__ = ("boot", "mac", "purpose", "recipient", "seq")
    purpose: str
    recipient: str
    boot: int
    seq: int
    mac: bytes


def key_id(public: bytes) -> bytes:
    """Return the key id of an Ed25519 public key: the start of its sha256."""
    return hashlib.sha256(public).digest()[:8]


def to_be_signed(protected: bytes, payload: bytes, aad: bytes = b"") -> bytes:
    """Return the Sig_structure of a COSE_Sign1 (RFC 9052 section 4.4)."""
    return encode(["Signature1", protected, aad, payload])


def to_be_bound(protected: bytes, aad: bytes) -> bytes:
    """Return the Enc_structure of a COSE_Encrypt0 (RFC 9052 section 5.3): the additional data given to the cipher."""
    return encode(["Encrypt0", protected, aad])


def sign1(payload: bytes, kid: bytes, sign: "Callable[[bytes], bytes]", algorithm: int = EDDSA) -> bytes:
    """Return a tagged COSE_Sign1 over the payload; `sign` is Ed25519 (ES256: ECDSA on P-256, r ‖ s) over its bytes."""
    protected = encode({ALGORITHM: algorithm, KID: kid})
    return encode(Tag(tag=SIGN1, value=[protected, {}, payload, sign(to_be_signed(protected, payload))]))


def split_sign1(message: bytes, limit: int, algorithm: int = EDDSA) -> Signed:
    """Take a COSE_Sign1 of at most `limit` bytes apart; BadInput unless it is exactly our form."""
    value = decode(message, limit)
    if type(value) is not Tag or value.tag != SIGN1 or not _shaped(value.value, (bytes, dict, bytes, bytes)):
        raise BadInput(NOT_ITEM % "COSE_Sign1")
    protected, unprotected, payload, signature = value.value
    header = _header(protected, algorithm, "COSE_Sign1")
    if unprotected or len(signature) != SIGNATURE:
        raise BadInput(NOT_ITEM % "COSE_Sign1")
    return Signed(kid=header, payload=payload, signature=signature, signed=to_be_signed(protected, payload))


def nonce(boot: int, seq: int) -> bytes:
    """Return the nonce of a record: no (boot, seq) is ever used for two plaintexts under one epoch key."""
    return boot.to_bytes(4, "big") + seq.to_bytes(8, "big")


def epoch_header(epoch: int) -> bytes:
    """Return the protected header of the records of an epoch."""
    return encode({ALGORITHM: CHACHA20_POLY1305, KID: epoch.to_bytes(4, "big")})


def join_encrypt0(protected: bytes, number: bytes, ciphertext: bytes) -> bytes:
    """Return a tagged COSE_Encrypt0."""
    return encode(Tag(tag=ENCRYPT0, value=[protected, {IV: number}, ciphertext]))


def split_encrypt0(message: bytes, limit: int) -> Sealed:
    """Take a COSE_Encrypt0 apart; BadInput unless it is exactly our form."""
    value = decode(message, limit)
    if type(value) is not Tag or value.tag != ENCRYPT0 or not _shaped(value.value, (bytes, dict, bytes)):
        raise BadInput(NOT_ITEM % "COSE_Encrypt0")
    protected, unprotected, ciphertext = value.value
    kid = _header(protected, CHACHA20_POLY1305, "COSE_Encrypt0")
    iv = unprotected.get(IV)
    if len(unprotected) != 1 or type(iv) is not bytes or len(iv) != NONCE or len(kid) != 4 or len(ciphertext) < 16:
        raise BadInput(NOT_ITEM % "COSE_Encrypt0")
    return Sealed(epoch=int.from_bytes(kid, "big"), nonce=iv, ciphertext=ciphertext, protected=protected)


def key_context(stream: Stream, recipient: str) -> bytes:
    """Return the HPKE info that ties a wrapped epoch key to its place."""
    return encode(["privet key 1", stream.device, stream.purpose, stream.boot, stream.epoch, recipient])


def key_plain(epoch_key: bytes, ack_key: bytes, consent: bytes = b"") -> bytes:
    """Return what is wrapped for one recipient; `consent` is what it is told of the owner's, where there is any."""
    return encode([epoch_key, ack_key] + ([consent] if consent else []))


def key_body(epoch: int, wrapped: "dict[str, bytes]") -> bytes:
    """Return the body of the record that opens an epoch."""
    return encode(["key", epoch, wrapped])


def gap_plain(from_boot: int, from_seq: int, to_boot: int, to_seq: int, count: int) -> bytes:
    """Return the plaintext of the record that owns up to lost ones."""
    return encode(["gap", from_boot, from_seq, to_boot, to_seq, count])


def record_context(stream: Stream, seq: int) -> bytes:
    """Return the external additional data of one telemetry record."""
    place = [stream.fleet, stream.device, stream.purpose, stream.boot, stream.epoch]
    return encode(["privet up 1"] + place + [seq])


def message(boot: int, seq: int, body: bytes) -> bytes:
    """Return the MQTT payload of a record: [1, boot, seq, body], the body's own encoding kept as it is."""
    return head(4, 4) + encode(1) + encode(boot) + encode(seq) + body


def ack_plain(device: str, purpose: str, recipient: str, boot: int, seq: int) -> bytes:
    """Return the bytes under the mac of an acknowledgement."""
    return encode(["privet ack 1", device, purpose, recipient, boot, seq])


def join_ack(purpose: str, recipient: str, boot: int, seq: int, mac: bytes) -> bytes:
    """Return the payload of an acknowledgement."""
    return encode([1, purpose, recipient, boot, seq, mac])


def split_ack(payload: bytes, limit: int = 1024) -> Received:
    """Take an acknowledgement apart; BadInput unless it is exactly our form. The caller compares the mac."""
    value = decode(payload, limit, 1)
    if not _shaped(value, (int, str, str, int, int, bytes)) or value[0] != 1 or len(value[5]) != MAC:
        raise BadInput(NOT_ITEM % "acknowledgement")
    if not 0 < value[3] <= MAX_BOOT or not 0 <= value[4] <= MAX_SEQ:  # 0: nothing is complete yet, and I am there
        raise BadInput(NOT_ITEM % "acknowledgement")
    return Received(purpose=value[1], recipient=value[2], boot=value[3], seq=value[4], mac=value[5])


def _header(protected: bytes, algorithm: int, name: str) -> bytes:
    """Return the key id of a protected header that names the one algorithm and a key id, and nothing else."""
    header = decode(protected, 64, 1)
    if type(header) is not dict or len(header) != 2 or header.get(ALGORITHM) != algorithm:
        raise BadInput(NOT_ITEM % name)
    kid = header.get(KID)
    if type(kid) is not bytes or not kid:
        raise BadInput(NOT_ITEM % name)
    return kid


def _shaped(value: "Any", kinds: "tuple[Any, ...]") -> bool:
    """Say whether a value is a list of exactly these kinds."""
    if type(value) is not list or len(value) != len(kinds):
        return False
    return all([type(value[i]) is kinds[i] for i in range(len(kinds))])
