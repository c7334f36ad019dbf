"""Sealing a seed to the key of one board, as FORMAT.md section 5.4 has it. Written apart from the device's side."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PublicKey, Suite

from agent.core.seed import BOARD, SealedSeed, sealing_context

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
LATTICE = 1184  # bytes of the ML-KEM-768 half, which comes first


def public_key(public: bytes) -> MLKEM768X25519PublicKey:
    """Read the public key of a board; ValueError when it is none."""
    lattice = MLKEM768PublicKey.from_public_bytes(public[:LATTICE])
    return MLKEM768X25519PublicKey(lattice, X25519PublicKey.from_public_bytes(public[LATTICE:]))


def sealed(payload: bytes, floor: int, public: bytes) -> SealedSeed:
    """Seal the payload of a seed to one board."""
    board = hashlib.sha256(public).digest()[:BOARD]
    return SealedSeed(
        board=board,
        floor=floor,
        sealed=SUITE.encrypt(payload, public_key(public), info=sealing_context(board, floor)),
    )
