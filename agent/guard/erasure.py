"""`privet erase --all`: the owner gives the device away, or begins anew. Everything of theirs goes.

It ends like a recovery file with the right code: at the next start the key of all that is remembered is destroyed, the
gate is shut, and a first boot makes new secrets for whoever is the owner then (`glass`). Beyond that the device's own
key and certificate go, so that nobody who has a copy of the card can speak for it; a new seed makes it another device.
Before its key is destroyed the device signs with it what it erased: the receipt.
"""

from typing import Any

from agent.core import cbor
from agent.core.errors import BadInput, PrivetError
from agent.core.warn import digest
from agent.guard import glass
from agent.guard.callers import Caller
from agent.guard.firstboot import MARKER
from agent.guard.guard import Guard
from agent.guard.pair import Pair
from agent.guard.wire import Reply
from agent.system import identity
from agent.system.vault import Vault

FORM = "privet erased 1"
GOES = (
    "what this device remembers: consents, leaves, the journal, readings that were not sent; its key is destroyed",
    "the passwords of all people on it, and their SSH keys; its owner gets a new password",
    "its key and certificate in its fleet: it is nobody's device until it gets a new seed",
)
STAYS = "Files in people's homes stay; to be rid of those, flash the card anew."


class Erasure:
    """The act behind the control socket."""

    def __init__(self, guard: Guard, vault: Vault) -> None:
        self.guard = guard
        self.vault = vault
        self.pair = Pair(guard.system, vault, (0, 0))  # it only takes away
        self.table = {"erase": self.erase}

    def erase(self, caller: Caller, request: Reply) -> Reply:
        """Say what would go; with `seen`, which proves that this was shown, begin it: from then on it is not undone."""
        seen = digest((*GOES, STAYS))
        if "seen" not in request:
            return {"goes": list(GOES), "stays": STAYS, "seen": seen}
        if request["seen"] != seen:
            raise BadInput("what goes was not shown as it is now; run privet erase --all again")
        system, store = self.guard.system, self.guard.books.store
        asked = glass.record(system, glass.ASKED)
        receipt = asked.get("receipt") if asked.get("by") == glass.OWNER else self.receipt()
        if asked.get("by") != glass.OWNER:
            store.append("erase", {"by": caller.name, "receipt": bool(receipt)})
            glass.keep(system, glass.ASKED, {"state": "asked", "by": glass.OWNER, "receipt": receipt})
        system.remove(MARKER)
        self.pair.erase()
        return {"receipt": bytes(receipt or b"").hex()}

    def receipt(self) -> bytes:
        """Sign what is erased with the device's own key, empty when it has none."""
        me, pair = self.guard.rules.anchor.identity, self.pair
        if pair.life() is None:
            return b""
        try:
            key = pair.key(follows=False)
            table: dict[str, Any] = {
                "fleet": me.fleet, "device": me.device, "key": identity.fingerprint(self.vault, key),
                "time": self.guard.rules.now(self.guard.system.clock()), "erased": ["state", "people", "identity"],
            }  # fmt: skip
            return identity.sign(self.vault, key, cbor.encode([FORM, table]))
        except PrivetError:
            return b""  # a damaged key signs nothing, and keeps nobody from erasing it
