"""Policies from afar: tighter parts at once, looser ones not at all; and what the fleet is told about them.

Numbers and digests alone: which one is in force, *how many* settings of it wait for the owner, what was refused. Which
ones the owner allowed or not is nobody's business.
"""

import hashlib
from collections.abc import Callable

from agent.core import cbor
from agent.core.errors import PrivetError
from agent.core.policy import layer
from agent.guard import words
from agent.guard.guard import Guard
from agent.guard.outbox import Outbox

VERSION = 1
SHORT = 16  # bytes of a digest
INBOUND = "firewall.inbound"


class Answer:
    """Takes policies, and answers on the topic `state` of this device whenever there is something new to say."""

    def __init__(self, guard: Guard, outbox: Outbox, linked: Callable[[], bool]) -> None:
        self.guard, self.rules, self.outbox = guard, guard.rules, outbox
        self.linked = linked
        self.refused: tuple[bytes, int] = (b"", 0)
        self.said = b""

    def take(self, signed: bytes) -> None:
        """Take a policy from afar; the owner is told which settings it would loosen. BadPolicy changes nothing."""
        clock = self.guard.system.clock()
        try:
            offer = self.rules.offer(signed, clock)
        except PrivetError as error:
            digest = short(signed)
            if digest != self.force():  # the one in force, sent again, was not refused: its answer was not heard
                self.refused = (digest, error.exit_code)
            self.tell(anew=True)
            raise
        self.rules.accept(signed, offer)
        self.refused = (b"", 0)
        self.outbox.adopt(offer.policy)
        if offer.looser:
            self.guard.announce(words.asks_looser(offer.looser, clock))
        self.guard.posture.rebase(self.rules.baseline())
        self.guard.sweep(quiet=True)
        self.tell()

    def tell(self, *, anew: bool = False) -> None:
        """Say what is new, if there is a link; `anew`: all of it, for nobody knows what a lost one still delivered."""
        if anew:
            self.said = b""
        if self.linked() and (news := self.news()):
            self.outbox.say("state", "state", news)

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
        allowed = {waiver.setting for waiver in self.guard.books.waivers}
        if self.rules.shut_in:
            allowed.add(INBOUND)  # shut until the factory secrets are gone, whatever the owner says
        _, looser = layer(self.rules.baseline(), policy.baseline, self.rules.settings)
        return tuple(name for name in looser if name in policy.baseline and name not in allowed)


def short(signed: bytes) -> bytes:
    """Return the first bytes of a signed policy's digest."""
    return hashlib.sha256(signed).digest()[:SHORT]
