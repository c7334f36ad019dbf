"""`privet erase --all`: the owner gives the device away, or begins anew. Everything of theirs goes.

It ends like a recovery file with the right code: at the next start the key of all that is remembered is destroyed, the
gate is shut, and a first boot makes new secrets for whoever is the owner then (`glass`). Beyond that the device's own
key and certificate go, so that nobody who has a copy of the card can speak for it; a new seed makes it another device.
Before its key is destroyed the device signs with it what it erased: the receipt, kept until the fleet has it
(`handover`), with the sha256 of a token that the device drew for its next owner.

Who was asked to delete and has not confirmed is asked once more before the key goes, named to the owner and on the
receipt, and asked again after the start, once the fleet has let the device in again (`deletions`).
"""

import hashlib
from collections.abc import Callable
from typing import Any

from agent.core import cbor
from agent.core.errors import BadInput, PrivetError
from agent.core.warn import digest
from agent.guard import glass
from agent.guard.callers import Caller
from agent.guard.deletions import Deletions, Row
from agent.guard.firstboot import MARKER
from agent.guard.guard import Guard
from agent.guard.pair import Pair
from agent.guard.wire import Reply
from agent.system import identity
from agent.system.vault import Vault

FORM = "privet erased 1"
TOKEN = 32  # bytes
MOST = 40  # requests that are named on the receipt: it is small
GOES = (
    "what this device remembers: consents, leaves, the journal, readings that were not sent; its key is destroyed",
    "the passwords of all people on it, and their SSH keys; its owner gets a new password",
    "its key and certificate in its fleet: it is nobody's device until it gets a new seed",
)
STAYS = "Files in people's homes stay; to be rid of those, flash the card anew."


class Erasure:
    """The act behind the control socket."""

    def __init__(self, guard: Guard, vault: Vault, deletions: Deletions, begun: Callable[[], None]) -> None:
        self.guard = guard
        self.deletions = deletions
        self.vault = vault
        self.begun = begun  # called when the receipt is kept and the key is gone
        self.pair = Pair(guard.system, vault, (0, 0))  # it only takes away
        self.table = {"erase": self.erase}

    def erase(self, caller: Caller, request: Reply) -> Reply:
        """Say what would go; with `seen`, which proves that this was shown, begin it: from then on it is not undone."""
        still = unanswered(self.deletions.standing())
        seen = digest((*GOES, STAYS, still))
        if "seen" not in request:
            return {"goes": list(GOES), "stays": STAYS, "asked": still, "seen": seen}
        if request["seen"] != seen:
            raise BadInput("what goes was not shown as it is now; run privet erase --all again")
        system, store = self.guard.system, self.guard.books.store
        asked = glass.record(system, glass.ASKED)
        if asked.get("by") != glass.OWNER:
            token = system.entropy(TOKEN)
            signed = self.receipt(token, self.deletions.last())
            store.append("erase", {"by": caller.name, "receipt": bool(signed)})
            asked = {"state": "asked", "by": glass.OWNER, "receipt": signed, "token": token}
            glass.keep(system, glass.ASKED, asked)
        receipt = asked.get("receipt")
        system.remove(MARKER)
        self.pair.erase()
        self.begun()
        return {"receipt": bytes(receipt or b"").hex()}

    def receipt(self, token: bytes, still: list[Row]) -> bytes:
        """Sign what is erased with the device's own key, empty when it has none."""
        me, pair = self.guard.rules.anchor.identity, self.pair
        if pair.life() is None:
            return b""
        try:
            key = pair.key(follows=False)
            table: dict[str, Any] = {
                "fleet": me.fleet, "device": me.device, "key": identity.fingerprint(self.vault, key),
                "time": self.guard.rules.now(self.guard.system.clock()), "erased": ["state", "people", "identity"],
                "token": hashlib.sha256(token).digest(),
                "unanswered": [[row["purpose"], row["recipient"]] for row in still[:MOST]],
            }  # fmt: skip
            return identity.sign(self.vault, key, cbor.encode([FORM, table]))
        except PrivetError:
            return b""  # a damaged key signs nothing, and keeps nobody from erasing it


def unanswered(rows: list[Row]) -> str:
    """Say who was asked to delete and has not said that it did, and what becomes of that; empty when nobody was."""
    if not rows:
        return ""
    who = ", ".join(f"{row['name']} ({row['purpose']})" for row in rows)
    return (
        f"Asked to delete what they have, and not confirmed: {who}. That is the one thing that is kept, without any"
        " reading: they are asked again once the fleet has let this device in again under its name. If it never does,"
        " or the device gets another name, nobody asks them: note them down, and ask them yourself."
    )
