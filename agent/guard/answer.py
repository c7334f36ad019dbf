"""What the fleet is told about its policies: which one is in force, how much waits for the owner, what was refused.

Numbers and digests alone: *how many* settings wait is an answer to what the fleet asked for; which ones the owner
allowed or not is nobody's business.
"""

import hashlib

from agent.core import cbor
from agent.core.errors import PrivetError
from agent.core.policy import layer
from agent.guard.books import Books
from agent.guard.rules import Rules

VERSION = 1
SHORT = 16  # bytes of a digest
INBOUND = "firewall.inbound"


class Answer:
    """`news` is what is to be published on the topic `state` of this device, empty when nothing has changed."""

    def __init__(self, rules: Rules, books: Books) -> None:
        self.rules = rules
        self.books = books
        self.refused: tuple[bytes, int] = (b"", 0)
        self.said = b""

    def refuse(self, signed: bytes, error: PrivetError) -> None:
        """Note that a policy was refused, and for which kind of reason; one that is in force already was not."""
        digest = short(signed)
        if digest != self.force():
            self.refused = (digest, error.exit_code)

    def accept(self) -> None:
        """Note that a policy was taken: what was refused before it is past."""
        self.refused = (b"", 0)

    def forget(self) -> None:
        """Say everything again at the next occasion: nobody knows what a lost connection still delivered."""
        self.said = b""

    def news(self) -> bytes:
        """Return what has not been said yet."""
        policy = self.rules.policy
        sequence = 0 if policy is None or self.rules.bare else policy.sequence
        digest, code = self.refused
        payload = cbor.encode([VERSION, sequence, self.force(), len(self.waiting()), digest, code])
        if payload == self.said:
            return b""
        self.said = payload
        return payload

    def force(self) -> bytes:
        """Return the short digest of the policy in force."""
        kept = self.rules.store.get("policy")
        return short(kept) if isinstance(kept, bytes) and not self.rules.bare else b""

    def waiting(self) -> tuple[str, ...]:
        """Return the settings that the policy asks looser than they stand here, and that the owner has not allowed."""
        policy = self.rules.policy
        if policy is None or self.rules.bare:
            return ()
        allowed = {waiver.setting for waiver in self.books.waivers}
        if self.rules.shut_in:
            allowed.add(INBOUND)  # shut until the factory secrets are gone, whatever the owner says
        _, looser = layer(self.rules.baseline(), policy.baseline, self.rules.settings)
        return tuple(name for name in looser if name in policy.baseline and name not in allowed)


def short(signed: bytes) -> bytes:
    """Return the first bytes of a signed policy's digest."""
    return hashlib.sha256(signed).digest()[:SHORT]
