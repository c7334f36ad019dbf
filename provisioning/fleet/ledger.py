"""The ledger: what happened to the fleet, in a chain where every row is signed and carries the hash of the row before.

    digest    = sha256(facts)                    facts: JSON with the device, and 16 random bytes against guessing
    hash      = sha256(hash before ‖ JSON [row, at, event, digest in hex])
    signature = Ed25519 by the fleet's ledger key over hash

So facts can be forgotten when their time is over and the chain still holds. Whoever changes, moves, adds or takes out a
row is found at that row, and cannot sign another; that the end was cut off is found by `ledger.head`, a copy of the
last hash beside the database.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, insert, select, update

from agent.core.errors import Tampered
from provisioning.fleet.tables import chain, ledger

START = bytes(32)
FORGOT = "forgot"


class Book:
    """The end of the chain, held within one writing transaction; `close` puts what was noted into it."""

    def __init__(self, connection: Connection, key: Ed25519PrivateKey) -> None:
        self._connection = connection
        self._key = key
        self._fresh: list[dict[str, Any]] = []
        self.rows, self.hash = connection.execute(select(chain.c.rows, chain.c.hash)).one()

    def note(self, at: int, event: str, device: str = "", **facts: Any) -> int:
        """Add a row; return its number."""
        self.rows += 1
        text = written({**facts, **({"device": device} if device else {}), "salt": secrets.token_hex(16)})
        digest = hashlib.sha256(text.encode()).digest()
        self.hash = linked(self.hash, self.rows, at, event, digest)
        self._fresh.append(
            {"row": self.rows, "at": at, "event": event, "device": device or None, "facts": text, "digest": digest,
             "hash": self.hash, "signature": self._key.sign(self.hash)}
        )  # fmt: skip
        return int(self.rows)

    def place(self) -> tuple[int, bytes, int]:
        """Return where the book is, for `back_to`."""
        return self.rows, self.hash, len(self._fresh)

    def back_to(self, place: tuple[int, bytes, int]) -> None:
        """Take back what was noted since."""
        self.rows, self.hash = place[:2]
        del self._fresh[place[2] :]

    def close(self) -> None:
        """Write the rows and the new end of the chain."""
        if self._fresh:
            self._connection.execute(insert(ledger), self._fresh)
            self._connection.execute(update(chain).values(rows=self.rows, hash=self.hash))
            self._fresh = []


def written(facts: Mapping[str, Any]) -> str:
    """Return facts in the one form that is hashed."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def linked(before: bytes, row: int, at: int, event: str, digest: bytes) -> bytes:
    """Return the hash of a row."""
    return hashlib.sha256(before + json.dumps([row, at, event, digest.hex()]).encode()).digest()


def verified(connection: Connection, key: Ed25519PublicKey, head: tuple[int, bytes] | None = None) -> int:
    """Check every row; return how many there are. Tampered names the first row that is wrong.

    `head` is a row and its hash remembered elsewhere: it must still stand there.
    """
    hash_before, count, forgotten, bare = START, 0, 0, 0
    for row in connection.execute(select(ledger).order_by(ledger.c.row)).yield_per(1000):
        count += 1
        if row.row != count:
            raise Tampered(f"row {count} of the ledger is missing; restore the registry from your copy")
        _fits(row, hash_before, key)
        if head is not None and head[0] == count and head[1] != row.hash:
            raise Tampered(f"row {count} of the ledger is another than the one remembered; restore your copy")
        if row.facts is None:
            bare = count
        elif row.event == FORGOT:
            forgotten = max(forgotten, int(json.loads(row.facts)["until_row"]))
        hash_before = row.hash
    if bare > forgotten:
        raise Tampered(f"row {bare} of the ledger was emptied before its time; restore the registry from your copy")
    length, end = connection.execute(select(chain.c.rows, chain.c.hash)).one()
    if (length, end) != (count, hash_before) or (head is not None and head[0] > count):
        lost = max(length, head[0] if head else 0, count + 1)
        raise Tampered(f"row {count + 1} of the ledger is missing, and all to row {lost}; restore your copy")
    return count


def _fits(row: Any, before: bytes, key: Ed25519PublicKey) -> None:
    wrong = f"row {row.row} of the ledger was changed; restore the registry from your copy"
    if linked(before, row.row, row.at, row.event, row.digest) != row.hash:
        raise Tampered(wrong)
    try:
        key.verify(row.signature, row.hash)
    except InvalidSignature:
        raise Tampered(wrong) from None
    if row.facts is None:
        return
    if hashlib.sha256(row.facts.encode()).digest() != row.digest:
        raise Tampered(wrong)
    if json.loads(row.facts).get("device") != row.device:
        raise Tampered(wrong)
