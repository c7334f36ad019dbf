"""The vault: sealing and verifying for a guard that keeps no cipher in its own memory.

cryptography costs a process ten megabytes and more, the guard may have fifteen in all. So the guard asks a vault: in
its own process where memory does not matter (`DirectVault`: tests, simulated fleets), or a child that lives while
there is work (`agent.system.worker`).
"""

from collections.abc import Sequence
from typing import Protocol

from agent.core.cose import Stream
from agent.core.record import Record
from agent.core.secret import Secret


class Epoch(Record):
    """A fresh epoch: its key, the ack key of each recipient, and the body of the record that opens it."""

    __slots__ = ("acks", "body", "key")
    key: Secret
    acks: dict[str, Secret]
    body: bytes


class NewIdentity(Record):
    """A fresh device identity: private key (PEM, PKCS 8) and certificate request (PEM)."""

    __slots__ = ("key", "request")
    key: Secret
    request: bytes


class Vault(Protocol):
    """What can be asked of a vault. Bad bytes are the errors named here; a vault that dies twice in a row is Failed."""

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal state with the device's state key, bound to `aad`."""

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Open what `seal` made; Tampered when anything differs."""

    def verify_policy(self, message: bytes, keys: Sequence[bytes]) -> bytes:
        """Return the payload of a policy signed by one of the Ed25519 keys; BadPolicy otherwise."""

    def new_epoch(self, stream: Stream, recipients: Sequence[tuple[str, bytes]]) -> Epoch:
        """Make an epoch key for recipients (id, public key); BadPolicy when a key is none."""

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Seal (seq, plaintext) pairs, seq rising, each seq once in the life of the epoch."""

    def new_identity(self, device: str) -> NewIdentity:
        """Make a key and a certificate request for this device."""

    def close(self) -> None:
        """End it; the next request starts it again."""


class DirectVault:
    """A vault in this very process."""

    def __init__(self, state_key: Secret) -> None:
        from agent.system import sealing  # noqa: PLC0415  (cryptography: only who makes a DirectVault pays for it)

        self._sealing = sealing
        self._key = state_key

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal state."""
        return self._sealing.seal(self._key, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Open state."""
        return self._sealing.unseal(self._key, sealed, aad)

    def verify_policy(self, message: bytes, keys: Sequence[bytes]) -> bytes:
        """Return the payload of a signed policy."""
        return self._sealing.verify_policy(message, keys)

    def new_epoch(self, stream: Stream, recipients: Sequence[tuple[str, bytes]]) -> Epoch:
        """Make an epoch key."""
        return self._sealing.new_epoch(stream, recipients)

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Seal records."""
        return self._sealing.seal_records(key, stream, records)

    def new_identity(self, device: str) -> NewIdentity:
        """Make a device identity."""
        return self._sealing.new_identity(device)

    def close(self) -> None:
        """Nothing is open."""
