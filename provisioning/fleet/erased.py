"""The receipt of a device that erased itself for its owner: signed by the device's own key, checked by its certificate.

COSE_Sign1 with ES256 as in FORMAT.md section 5.2, over cbor(["privet erased 1", {"device": text, "time": int, …}]).
"""

import hashlib
from collections.abc import Iterable

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from agent.core.cose import ES256, key_id, split_sign1
from agent.core.errors import BadInput, PrivetError, Tampered
from agent.core.record import Record, replace

FORM = "privet erased 1"
MOST = 4096  # bytes
NO_RECEIPT = "this is no receipt of an erased device; give the file that the device made"
DER, SPKI = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as certificates hold it."""
    return key.public_bytes(DER, SPKI)


def fingerprint(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-256 by which the registry knows a key."""
    return hashlib.sha256(spki(key)).digest()


class Erased(Record):
    """What a device says of its erasure: who it was, when, the sha256 of the token it drew for its next owner.

    `token` is empty where the device drew none; `key` is the fingerprint of the key that signed it, once verified.
    """

    __slots__ = ("at", "device", "key", "token")
    device: str
    at: int
    token: bytes
    key: bytes


def read_receipt(receipt: bytes) -> Erased:
    """Read a receipt, whoever signed it; BadInput for anything else."""
    try:
        form, facts = cbor2.loads(split_sign1(receipt, MOST, ES256).payload)
        named, at, token = facts["device"], facts["time"], facts.get("token", b"")
    except (PrivetError, cbor2.CBORDecodeError, ValueError, TypeError, KeyError, AttributeError):
        raise BadInput(NO_RECEIPT) from None
    if form != FORM or type(at) is not int or type(named) is not str or type(token) is not bytes:
        raise BadInput(NO_RECEIPT)
    if len(token) not in (0, 32):
        raise BadInput(NO_RECEIPT)
    return Erased(device=named, at=at, token=token, key=b"")


def verified_receipt(receipt: bytes, device: str, held: Iterable[bytes]) -> Erased:
    """Return what a device says of its erasure; BadInput for no receipt, Tampered unless one of its keys signed it."""
    said, signed = read_receipt(receipt), split_sign1(receipt, MOST, ES256)
    if said.device != device:
        raise Tampered(f"this receipt is of another device than {device}; give the one that this device made")
    signature = encode_dss_signature(
        int.from_bytes(signed.signature[:32], "big"), int.from_bytes(signed.signature[32:], "big")
    )
    for der in held:
        key = x509.load_der_x509_certificate(der).public_key()
        if isinstance(key, ec.EllipticCurvePublicKey) and key_id(spki(key)) == signed.kid:
            try:
                key.verify(signature, signed.signed, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return replace(said, key=fingerprint(key))
    raise Tampered(f"this receipt is not signed by a key that {device} ever had; give the one that this device made")
