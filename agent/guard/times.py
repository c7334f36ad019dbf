"""The time by which certificates are judged on a device whose clock may say anything.

`time` in the store is the latest that the fleet has signed for this device; it only grows. The clock of the device does
not move it: one that ran ahead for a day would else shut out the truth for good.
"""

from typing import Any

from agent.core import cbor, enrol
from agent.core.errors import BadInput
from agent.guard.books import Store
from agent.guard.rules import Anchor
from agent.system.door import System
from agent.system.vault import Vault

FORM = "privet time 1"


class Times:
    """What is known of the time in this start."""

    def __init__(self, system: System, store: Store, vault: Vault, anchor: Anchor) -> None:
        self.system = system
        self.store = store
        self.vault = vault
        self.anchor = anchor
        self.told: tuple[int, int] | None = None  # the server's signed time, and our uptime when it came
        self.timeless = False  # the server signs none
        self.random = system.entropy(16)

    def floor(self) -> int:
        """Return the latest time this device knows for sure: of flashing, or signed by its fleet."""
        known = self.store.get("time")
        return max(self.anchor.floor, known if isinstance(known, int) else 0)

    def now(self) -> int:
        """Return the time to judge by, 0 when there is none."""
        return enrol.believed(self.system.clock(), self.floor(), self.told)

    def settled(self, now: int) -> bool:
        """Say whether there is nothing better to be had in this start."""
        return self.told is not None or (self.timeless and now > 0)

    def start(self) -> str:
        """Name this start: the count and a random of its own, by which the fleet notices a copy of this card."""
        return f"{self.system.boot}.{self.random.hex()}"

    def take(self, answer: dict[str, Any], nonce: bytes) -> None:
        """Believe the server's time, or raise why not; a believed one moves the floor forward for good."""
        said = cbor.decode(self.vault.verify_policy(answer["body"], self.anchor.keys), 256)
        if not isinstance(said, list) or said[:2] != [FORM, nonce] or len(said) != 3 or type(said[2]) is not int:
            raise BadInput("the enrolment server signed another question than ours; check who answers there")
        time = enrol.admitted(said[2], self.floor(), answer["begins"], answer["ends"])
        self.store.put({"time": time}, (("enrolment", {"act": enrol.TIME, "time": time}),))
        self.told = (time, self.system.clock().uptime)
