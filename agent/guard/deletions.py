"""Consent that was taken back: its recipients are asked to delete what they have, until each has said that it did.

What is asked is durable together with the owner's answer. It is signed by the device's own key when there is one, sent
whenever there is a link, and kept afterwards with the recipient's receipt.

A reset of the device does not take it back: what is open goes on (`former`), without a reading, signed anew by the key
that the device has then, and is forgotten once it is confirmed. Under another name no recipient would heed it; then it
goes at once, which its owner was told before.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from agent.core import deletion
from agent.core.deletion import Receipt, Request
from agent.core.errors import BadInput, PrivetError
from agent.guard.acks import Acks
from agent.guard.books import Journal, Store
from agent.guard.pair import HOME, Pair
from agent.system import identity
from agent.system.door import System
from agent.system.vault import Vault

AGAIN = 300  # seconds until signing is tried again
Say = Callable[[str, str, bytes], None]
Row = dict[str, Any]
Known = Mapping[str, tuple[str, bytes]]
"""recipient: their name, their public key"""


class Deletions:
    """Every recipient that was asked, the latest request of each; `say(name, suffix, payload)` hands one over."""

    def __init__(self, system: System, store: Store, vault: Vault, place: tuple[str, str], say: Say) -> None:
        self.system, self.store, self.vault, self.say = system, store, vault, say
        self.fleet, self.device = place
        self.pair = Pair(system, vault, (0, 0))  # it only reads
        found = [store.get(name) for name in store.keys("deletion/")]
        self.void = [row for row in found if row.get("of", list(place)) != list(place)]  # nobody heeds us on these
        self.rows: dict[tuple[str, str], Row] = {
            (row["purpose"], row["recipient"]): row for row in found if row not in self.void
        }
        self.due: dict[tuple[str, str], int] = dict.fromkeys(self.rows, 0)  # uptime of the next attempt
        self.tries: dict[tuple[str, str], int] = {}

    def ask(
        self, known: Known, acks: Acks, purpose: str, recipients: Iterable[str], boot: int, at: int
    ) -> tuple[dict[str, Row], list[Journal]]:
        """Return what is to be kept together with the owner's answer, so that these recipients are asked."""
        values: dict[str, Row] = {}
        notes: list[Journal] = []
        for one in recipients:
            key = acks.latest(one)
            if not key and self.rows.get((purpose, one), {}).get("former"):
                continue  # nothing was sealed to them since: what is asked already reaches all they have, and is proven
            proof = hmac.digest(key, self.proven(purpose, one, boot, at), hashlib.sha256) if key else b""
            row = {
                "purpose": purpose, "recipient": one, "name": known[one][0], "public": known[one][1],
                "boot": boot, "at": at, "proof": proof, "confirmed": 0, "of": [self.fleet, self.device],
            }  # fmt: skip
            values[f"deletion/{purpose}/{one}"] = row
            notes.append(("deletion", {"purpose": purpose, "recipient": one, "boot": boot}))
        return values, notes

    def proven(self, purpose: str, recipient: str, boot: int, at: int) -> bytes:
        """Return the bytes under a proof."""
        return deletion.proof_plain(self.device, purpose, recipient, boot, at)

    def take(self, values: dict[str, Row]) -> None:
        """Begin with what was kept."""
        for row in values.values():
            self.rows[row["purpose"], row["recipient"]] = row
            self.due[row["purpose"], row["recipient"]] = 0

    def open(self) -> list[tuple[str, str]]:
        """Name whoever has not confirmed."""
        return [key for key in sorted(self.rows) if not self.rows[key]["confirmed"]]

    def wait(self) -> float:
        """Return the seconds until somebody is to be asked again."""
        now = self.system.clock().uptime
        return min((max(0, self.due[key] - now) for key in self.open()), default=AGAIN * 12)

    def again(self) -> None:
        """A new connection: nobody knows what the one before it delivered."""
        self.due, self.tries = dict.fromkeys(self.rows, 0), {}

    def let_go(self) -> None:
        """Forget what this device, under the name it has now, cannot ask any more."""
        gone = [(row["purpose"], row["recipient"]) for row in self.void]
        if gone:
            notes = [("deletion_void", {"purpose": purpose, "recipient": one}) for purpose, one in gone]
            with suppress(PrivetError):  # then at the next turn
                self.store.put({f"deletion/{purpose}/{one}": None for purpose, one in gone}, notes)
                self.void = []

    def turn(self) -> None:
        """Ask those who are due; what cannot be signed now is tried again later."""
        now = self.system.clock().uptime
        for key in self.open():
            if self.due[key] > now:
                continue
            self.due[key] = now + AGAIN
            with suppress(PrivetError):
                payload = self.signed(self.rows[key])
                if payload:
                    self.tries[key] = self.tries.get(key, 0) + 1
                    self.due[key] = now + deletion.patience(self.tries[key])
                    self.say("/".join(key), f"up/{key[0]}", payload)

    def signed(self, row: Row) -> bytes:
        """Return the message of a request, signed anew when the device has another certificate; empty without one."""
        if self.pair.life() is None:  # it may have been destroyed while a link is still there
            return deletion.join_request(row["signed"], row["chain"]) if row.get("chain") else b""
        chain = self.pair.read(f"{HOME}/cert.pem")
        if row.get("chain") != chain:
            row = {**row, "chain": chain}
            if "key" not in row:
                place = deletion.stream(self.fleet, self.device, row["purpose"], row["boot"])
                made = self.vault.new_epoch(place, [(row["recipient"], row["public"])])
                row["wrapped"] = deletion.wrapped_of(made.body, row["recipient"])
                row["key"] = made.acks[row["recipient"]].reveal()
            plain = self.plain(row)
            row["signed"], row["id"] = (
                identity.sign(self.vault, self.pair.key(follows=False), plain),
                deletion.name_of(plain),
            )
            self.keep(row, ("deletion_asked", {**named(row), "request": row["signed"]}))
        return deletion.join_request(row["signed"], row["chain"])

    def plain(self, row: Row) -> bytes:
        """Return what is signed."""
        request = Request(
            fleet=self.fleet, device=self.device, purpose=row["purpose"], recipient=row["recipient"],
            boot=row["boot"], at=row["at"], key=row["wrapped"], proof=row["proof"],
        )  # fmt: skip
        return deletion.request_plain(request)

    def confirm(self, receipt: Receipt, payload: bytes, now: int) -> None:
        """Take a recipient's receipt; BadInput when it is not authentic. The same one again changes nothing."""
        row = self.rows.get((receipt.purpose, receipt.recipient), {})
        if row.get("receipt") == payload:
            return
        mac = hmac.digest(row.get("key") or b"", deletion.receipt_plain(self.device, receipt), hashlib.sha256)
        if not row.get("key") or row["id"] != receipt.id or not hmac.compare_digest(mac, receipt.mac):
            raise BadInput("a receipt for a deletion was not authentic and was ignored")
        done = {"confirmed": now, "deleted": receipt.deleted, "kept": receipt.kept, "receipt": payload}
        kept = {
            name: value for name, value in row.items() if name not in ("key", "chain", "wrapped", "public", "proof")
        }
        if row.get("former"):
            note = ("deletion_confirmed", {"purpose": row["purpose"], "recipient": row["recipient"]})
            self.store.put({f"deletion/{row['purpose']}/{row['recipient']}": None}, (note,))
            self.rows[row["purpose"], row["recipient"]] = {**kept, **done}  # until the next start: it may come twice
            return
        self.keep({**kept, **done}, ("deletion_confirmed", {**named(row), **done}))

    def last(self) -> list[Row]:
        """Sign and say what is open, while there is a key; return it, for the owner's receipt."""
        self.again()
        self.turn()
        return self.standing()

    def after(self, purpose: str) -> int:
        """Return a time that is after every request of a purpose, those of before a reset, too."""
        return max((row["at"] + 1 for (name, _), row in self.rows.items() if name == purpose), default=0)

    def keep(self, row: Row, note: Journal) -> None:
        """Keep a row, with a note in the journal."""
        self.store.put({f"deletion/{row['purpose']}/{row['recipient']}": row}, (note,))
        self.rows[row["purpose"], row["recipient"]] = row

    def told(self, purpose: str, recipient: str) -> Row | None:
        """Say for people how a request stands, None when there is none."""
        row = self.rows.get((purpose, recipient))
        return None if row is None or row.get("former") else {**named(row), **shown(row)}

    def standing(self) -> list[Row]:
        """Say for the status who was asked and has not confirmed."""
        return [{**named(self.rows[key]), **shown(self.rows[key])} for key in self.open()]

    def exported(self) -> list[Row]:
        """Return everything for the owner: requests as they were signed, receipts as they came."""
        rows = [self.rows[key] for key in sorted(self.rows) if not self.rows[key].get("former")]
        return [
            {**named(row), **shown(row), "request": row.get("signed"), "receipt": row.get("receipt")} for row in rows
        ]


def named(row: Row) -> Row:
    """Say whom a request is to and what it is about."""
    return {"purpose": row["purpose"], "recipient": row["recipient"], "name": row["name"], "boot": row["boot"]}


def shown(row: Row) -> Row:
    """Say when it was asked for, and what was answered; `sent` is whether it could be signed yet."""
    answered = {"deleted": row.get("deleted", 0), "kept": row.get("kept", 0)}
    facts = {"asked": row["at"], "sent": "signed" in row, "confirmed": row["confirmed"], **answered}
    return {**facts, "former": True} if row.get("former") else facts


def former(row: Row) -> Row:
    """Return of an open request what it takes to sign it anew and to know its receipt: no name of a person, no word."""
    names = ("purpose", "recipient", "name", "boot", "at", "proof", "confirmed", "of", "key", "wrapped", "id", "public")
    return {**{name: row[name] for name in names if name in row}, "former": True}
