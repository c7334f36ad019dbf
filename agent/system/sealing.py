"""Every cipher of the agent: imports cryptography, and so is loaded by the vault's child, never by the guard.

What is sealed on the device's own behalf (state, journal) can be opened here. What is sealed to recipients cannot:
the opening side is the collector's, written apart from provisioning/FORMAT.md.
"""

import secrets
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

from agent.core import cose
from agent.core.errors import BadInput, BadPolicy, Tampered
from agent.core.policy import MAX_BYTES
from agent.core.secret import Secret
from agent.system.vault import Epoch, NewIdentity, rising

FORM = b"\x01"  # first byte of what seal() makes: AES-256-GCM-SIV (RFC 8452), nonce, ciphertext with tag
NONCE, TAG, KEY = 12, 16, 32
MLKEM_KEY = 1184  # bytes of an ML-KEM-768 public key; the X25519 key follows
ENVELOPE = 1024  # bytes a COSE_Sign1 may add to its payload
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def seal(key: Secret, plain: bytes, aad: bytes) -> bytes:
    """Seal state of the device, bound to `aad`.

    GCM-SIV, because a device at its first start may have poor randomness and a cloned card repeats it: a nonce used
    twice then shows that two plaintexts are equal and nothing more.
    """
    nonce = secrets.token_bytes(NONCE)
    return FORM + nonce + AESGCMSIV(key.reveal()).encrypt(nonce, plain, aad)


def unseal(key: Secret, sealed: bytes, aad: bytes) -> bytes:
    """Open what `seal` made; Tampered when key, bytes or binding differ."""
    if sealed[:1] != FORM or len(sealed) < 1 + NONCE + TAG:
        raise Tampered("a sealed record is not in a form this version knows; restore it from the export, or erase it")
    try:
        return AESGCMSIV(key.reveal()).decrypt(sealed[1 : 1 + NONCE], sealed[1 + NONCE :], aad)
    except InvalidTag as error:
        raise Tampered(
            "a sealed record was changed, moved or sealed with another key; run privet journal --verify"
        ) from error


def verify_policy(message: bytes, keys: Sequence[bytes]) -> bytes:
    """Return the payload of a policy signed by one of the Ed25519 keys (32 bytes each); BadPolicy and nothing else."""
    try:
        signed = cose.split_sign1(message, MAX_BYTES + ENVELOPE)
    except BadInput as error:
        raise BadPolicy(f"this is no signed policy ({error}); nothing was changed") from error
    if len(signed.payload) > MAX_BYTES:
        raise BadPolicy(f"the policy has more than {MAX_BYTES} bytes; nothing was changed, compile a smaller one")
    known = [key for key in keys if cose.key_id(key) == signed.kid]
    if not known:
        raise BadPolicy("the policy is signed with a key this device does not trust; nothing was changed")
    try:
        Ed25519PublicKey.from_public_bytes(known[0]).verify(signed.signature, signed.signed)
    except (InvalidSignature, ValueError) as error:
        raise BadPolicy("the policy's signature is wrong; nothing was changed, ask the sender for it again") from error
    return signed.payload


def sign_once(payload: bytes) -> tuple[bytes, bytes]:
    """Sign a policy with a key that exists for this one signature; returns its public half and the COSE_Sign1.

    For a device without a fleet: nobody can ever sign it another policy.
    """
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return public, cose.sign1(payload, cose.key_id(public), private.sign)


def new_epoch(
    stream: cose.Stream,
    recipients: Sequence[tuple[str, bytes]],
    known: Mapping[str, Secret] | None = None,
    told: Mapping[str, bytes] | None = None,
) -> Epoch:
    """Make an epoch key, and the record that hands it to each recipient (id, public key) with an own ack key.

    A recipient whose ack key is `known` keeps it: by it the recipient knows the sender again (FORMAT.md 3.2).
    `told` is the owner's consent as each recipient is told of it.
    """
    epoch_key = secrets.token_bytes(KEY)
    acks, wrapped = {}, {}
    for name, public in recipients:
        acks[name] = (known or {}).get(name) or Secret(secrets.token_bytes(KEY))
        plain = cose.key_plain(epoch_key, acks[name].reveal(), (told or {}).get(name, b""))
        try:
            wrapped[name] = SUITE.encrypt(plain, recipient_key(public), info=cose.key_context(stream, name))
        except ValueError as error:
            raise BadPolicy(
                f"the key of recipient {name!r} is no ML-KEM-768 + X25519 key; compile the policy with the right one"
            ) from error
    return Epoch(key=Secret(epoch_key), acks=acks, body=cose.key_body(stream.epoch, wrapped))


def recipient_key(public: bytes) -> MLKEM768X25519PublicKey:
    """Read a recipient's public key: ML-KEM-768 (1,184 bytes), then X25519 (32 bytes); ValueError when it is none."""
    return MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:MLKEM_KEY]), X25519PublicKey.from_public_bytes(public[MLKEM_KEY:])
    )


def seal_records(key: Secret, stream: cose.Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
    """Seal (seq, plaintext) pairs of one epoch; each seq once only: nonce and key would repeat with it."""
    rising(records)
    cipher, protected = ChaCha20Poly1305(key.reveal()), cose.epoch_header(stream.epoch)
    sealed = []
    for seq, plain in records:
        nonce = cose.nonce(stream.boot, seq)
        bound = cose.to_be_bound(protected, cose.record_context(stream, seq))
        sealed.append(cose.join_encrypt0(protected, nonce, cipher.encrypt(nonce, plain, bound)))
    return tuple(sealed)


def new_identity(device: str) -> NewIdentity:
    """Make a P-256 key and a certificate request with the device id as common name; both PEM."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    if not 0 < len(device) <= 64:  # ub-common-name, RFC 5280 appendix A.1
        raise BadInput("a device id has 1 to 64 letters; correct the device's seed")
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(private, hashes.SHA256())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return NewIdentity(key=Secret(pem), request=request.public_bytes(serialization.Encoding.PEM))
