"""Asking the vault for what takes the device's own key: requests, signatures, and the judgement of certificates.

Typed words for `Vault.with_key`; the work is done by `certifying`, in the vault's child.
"""

from agent.core.record import Record
from agent.core.secret import Secret
from agent.system.vault import Vault


class Certified(Record):
    """A certificate that counts: its chain (PEM, the device's own first), and its life in Unix seconds."""

    __slots__ = ("begins", "chain", "ends")
    chain: bytes
    begins: int
    ends: int


def request(vault: Vault, key: Secret, device: str) -> bytes:
    """Return the certificate request (PKCS #10, DER) of a device for its key."""
    return bytes(vault.with_key("request", key, device))


def fingerprint(vault: Vault, key: Secret) -> bytes:
    """Return the sha256 of the key's public half."""
    return bytes(vault.with_key("fingerprint", key))


def sign(vault: Vault, key: Secret, payload: bytes) -> bytes:
    """Return a COSE_Sign1 by the device's own key."""
    return bytes(vault.with_key("sign", key, payload))


def certified(vault: Vault, key: Secret, answer: bytes, name: tuple[str, str], anchors: bytes, now: int) -> Certified:
    """Return the certificate for `name` (device, fleet) out of an enrolment server's answer; BadInput says why not."""
    chain, begins, ends = vault.with_key("certified", key, answer, *name, anchors, now)
    return Certified(chain=bytes(chain), begins=begins, ends=ends)


def standing(vault: Vault, key: Secret, chain: bytes) -> Certified:
    """Return the certificate that is kept for a key; Tampered when it is damaged or does not fit."""
    begins, ends = vault.with_key("standing", key, chain)
    return Certified(chain=chain, begins=begins, ends=ends)
