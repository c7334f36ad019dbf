"""Sign policies and read signed ones: COSE_Sign1 with Ed25519 (RFC 9052), the one shape of provisioning/FORMAT.md."""

from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.core.cose import key_id, sign1, split_sign1
from agent.core.errors import BadPolicy, PrivetError
from agent.core.policy import MAX_BYTES

ENVELOPE = 256  # bytes the signature and its headers may add


def sign(payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the payload as a tagged COSE_Sign1."""
    return sign1(payload, key_id(key.public_key().public_bytes_raw()), key.sign)


def verify(message: bytes, publics: tuple[bytes, ...]) -> bytes:
    """Return the payload of a signed policy; BadPolicy unless one of the raw public keys signed it."""
    try:
        signed = split_sign1(message, MAX_BYTES + ENVELOPE)
    except PrivetError as error:
        raise BadPolicy(f"this is no signed policy ({error})") from None
    for public in publics:
        if key_id(public) == signed.kid:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signed.signature, signed.signed)
            except InvalidSignature:
                break
            return signed.payload
    raise BadPolicy("the policy is not signed by a key of this fleet; compile it again with the fleet's own key")


def payload_of(message: bytes) -> dict[str, Any]:
    """Return the policy map inside a signed policy without trusting it, to show or compare it."""
    try:
        table = cbor2.loads(split_sign1(message, MAX_BYTES + ENVELOPE).payload)
    except (PrivetError, cbor2.CBORDecodeError) as error:
        raise BadPolicy(f"this is no signed policy ({error}); give the file that profile compile wrote") from None
    if not isinstance(table, dict):
        raise BadPolicy("this is no signed policy (its payload is no table); give the file that profile compile wrote")
    return table
