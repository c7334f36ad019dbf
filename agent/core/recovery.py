"""The recovery code: printed for the owner once, kept on the device as a digest, typed into a file on the card."""

import hashlib

from .secret import Secret


def normal(written: bytes) -> bytes:
    """Return the letters of a code as somebody wrote them: in any case, spacing, line ends and encoding of editors."""
    lower = bytes([byte + 32 if 65 <= byte <= 90 else byte for byte in written])
    return bytes([byte for byte in lower if 97 <= byte <= 122])


def digest(salt: bytes, code: bytes) -> bytes:
    """Return what is kept of a code. It has more than 80 bits, so nothing slow is needed to keep it from guessing."""
    return hashlib.sha256(b"privet recovery\n" + salt + b"\n" + normal(code)).digest()


def matches(salt: bytes, kept: bytes, written: bytes) -> bool:
    """Say whether what was written is the code, in a time that does not tell how much of it was right."""
    return Secret(kept) == Secret(digest(salt, written))
