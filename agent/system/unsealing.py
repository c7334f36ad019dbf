"""The key of a board, to which a station seals a seed: one secret of 32 bytes, both halves of the key made from it.

Loaded by the vault's child, never by the guard. provisioning/FORMAT.md section 5.4 has the bytes.
"""

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.core.errors import Tampered, WrongDevice
from agent.core.secret import Secret
from agent.core.seed import BOARD
from agent.system.sealing import SUITE

LATTICE, CURVE = 64, 32  # bytes each half is made from
LABEL = b"privet board key 1"


def halves(key: Secret) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """Make both halves; the same secret always makes the same."""
    made = HKDF(hashes.SHA256(), LATTICE + CURVE, None, LABEL).derive(key.reveal())
    return MLKEM768PrivateKey.from_seed_bytes(made[:LATTICE]), X25519PrivateKey.from_private_bytes(made[LATTICE:])


def public(key: Secret) -> bytes:
    """Return what a station seals to: ML-KEM-768, then X25519, as in policies."""
    lattice, curve = halves(key)
    return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()


def unseal(key: Secret, board: bytes, context: bytes, sealed: bytes) -> bytes:
    """Open a seed; WrongDevice when it is for another board, Tampered when anything was changed."""
    if hashlib.sha256(public(key)).digest()[:BOARD] != board:
        raise WrongDevice("the seed is sealed to another board; put the card back into its own, or flash it again")
    try:
        return SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(*halves(key)), info=context)
    except (InvalidTag, ValueError):
        raise Tampered("the sealed seed does not open with this board's key; flash the card again") from None
