"""Consent that was taken back: its recipients are asked to delete what they have, until each has said that it did.

What is asked is durable together with the owner's answer. It is signed by the device's own key when there is one, sent
whenever there is a link, and kept afterwards with the recipient's receipt.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from agent.core import deletion
from agent.core.deletion import Receipt, Request
from agent.core.errors import BadInput, PrivetError
from agent.core.policy import Policy
from agent.guard.acks import Acks
from agent.guard.books import Journal, Store
from agent.guard.pair import HOME, Pair
from agent.system import identity
from agent.system.door import System
from agent.system.vault import Vault

AGAIN = 300  # seconds until signing is tried again
Say = Callable[[str, str, bytes], None]
Row = dict[str, Any]


class Deletions:
    """Every recipient that was asked, the latest request of each; `say(name, suffix, payload)` hands one over."""

    def __init__(self, system: System, store: Store, vault: Vault, place: tuple[str, str], say: Say) -> None:
        self.system, self.store, self.vault, self.say = system, store, vault, say
        self.fleet, self.device = place
        self.pair = Pair(system, vault, (0, 0))  # it only reads
        found = [store.get(name) for name in store.keys("deletion/")]
        self.rows: dict[tuple[str, str], Row] = {(row["purpose"], row["recipient"]): row for row in found}
        self.due: dict[tuple[str, str], int] = dict.fromkeys(self.rows, 0)  # uptime of the next attempt
        self.tries: dict[tuple[str, str], int] = {}

    def ask(
        self, policy: Policy, acks: Acks, purpose: str, recipients: Iterable[str], boot: int, at: int
    ) -> tuple[dict[str, Row], list[Journal]]:
        """Return what is to be kept together with the owner's answer, so that these recipients are asked."""
        values: dict[str, Row] = {}
        notes: list[Journal] = []
        known = {recipient.id: recipient for recipient in policy.recipients}
        for one in recipients:
            key = acks.latest(one)
            proof = hmac.digest(key, self.proven(purpose, one, boot, at), hashlib.sha256) if key else b""
            row = {
                "purpose": purpose, "recipient": one, "name": known[one].name, "public": known[one].key,
                "boot": boot, "at": at, "proof": proof, "confirmed": 0,
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
        if self.pair.life() is None:
            return b""
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
        self.keep({**kept, **done}, ("deletion_confirmed", {**named(row), **done}))

    def keep(self, row: Row, note: Journal) -> None:
        """Keep a row, with a note in the journal."""
        self.store.put({f"deletion/{row['purpose']}/{row['recipient']}": row}, (note,))
        self.rows[row["purpose"], row["recipient"]] = row

    def told(self, purpose: str, recipient: str) -> Row | None:
        """Say for people how a request stands, None when there is none."""
        row = self.rows.get((purpose, recipient))
        return None if row is None else {**named(row), **shown(row)}

    def standing(self) -> list[Row]:
        """Say for the status who was asked and has not confirmed."""
        return [{**named(self.rows[key]), **shown(self.rows[key])} for key in self.open()]

    def exported(self) -> list[Row]:
        """Return everything for the owner: requests as they were signed, receipts as they came."""
        rows = [self.rows[key] for key in sorted(self.rows)]
        return [
            {**named(row), **shown(row), "request": row.get("signed"), "receipt": row.get("receipt")} for row in rows
        ]


def named(row: Row) -> Row:
    """Say whom a request is to and what it is about."""
    return {"purpose": row["purpose"], "recipient": row["recipient"], "name": row["name"], "boot": row["boot"]}


def shown(row: Row) -> Row:
    """Say when it was asked for, and what was answered; `sent` is whether it could be signed yet."""
    answered = {"deleted": row.get("deleted", 0), "kept": row.get("kept", 0)}
    return {"asked": row["at"], "sent": "signed" in row, "confirmed": row["confirmed"], **answered}
