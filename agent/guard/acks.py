"""Whom the records of each start are sealed to, and the ack key each of them was given; per purpose, kept sealed.

Consent that is taken back from one of several recipients destroys everything of the purpose that is queued, and those
who stay are told a gap. Weighed: taking that one's key out of the queued key records (it may have them already, and who
has an epoch key opens all of the epoch that comes over the common topic); sealing anew (the device cannot read its own
queue); sending what is queued in spite of it.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from agent.core import cose
from agent.core.cose import Received
from agent.core.secret import Secret
from agent.guard.books import Store

Table = Mapping[int, Mapping[str, Any]]
"""boot: {recipient: [ack key, sha256 of the recipient's public key]}"""


class Acks:
    """The table of one purpose."""

    def __init__(self, store: Store, purpose: str) -> None:
        self._store = store
        self._name = f"acks/{purpose}"
        self._sealed_to = {boot: set(row) for boot, row in self.table().items()}
        self.closed: set[str] = set()  # who gets nothing now, also not of what was sealed to them before

    def table(self) -> Table:
        """Return the whole table."""
        return self._store.get(self._name) or {}

    def keep(self, table: Table) -> None:
        """Keep a table, durably."""
        kept = {boot: dict(row) for boot, row in table.items() if row}
        self._store.put({self._name: kept or None})
        self._sealed_to = {boot: set(row) for boot, row in kept.items()}

    def enter(self, boot: int, acks: Mapping[str, Secret], keys: Sequence[tuple[str, bytes]], floor: int) -> None:
        """Keep the ack keys of a start before its first record needs them, and those of starts from `floor` on."""
        row = {name: [acks[name].reveal(), mark(public)] for name, public in keys}
        table = self.table()
        if table.get(boot) != row:
            self.keep({**{b: known for b, known in table.items() if b >= floor}, boot: row})

    def known(self, keys: Sequence[tuple[str, bytes]]) -> dict[str, Secret]:
        """Return the ack keys that recipients with the same public key were given before."""
        marks = {name: mark(public) for name, public in keys}
        table = self.table()
        found = [(name, row) for boot in sorted(table) for name, row in table[boot].items()]
        return {name: Secret(key) for name, (key, known) in found if marks.get(name) == known}

    def holders(self) -> set[str]:
        """Return everybody whom anything kept here is sealed to."""
        return {name for names in self._sealed_to.values() for name in names}

    def latest(self, recipient: str) -> bytes:
        """Return the ack key that a recipient was given last, empty when nothing kept here is sealed to it."""
        table = self.table()
        keys = [table[boot][recipient][0] for boot in sorted(table) if recipient in table[boot]]
        return bytes(keys[-1]) if keys else b""

    def of(self, boot: int) -> set[str]:
        """Return whom the records of a boot are sealed to."""
        return self._sealed_to.get(boot, set())

    def held(self, boot: int) -> bool:
        """Say whether the records of a boot wait: all recipients hear one topic, and one of them is to get nothing."""
        return bool(self.closed) and not self.closed.isdisjoint(self.of(boot))

    def without(self, gone: set[str]) -> dict[int, dict[str, Any]]:
        """Return the table without some recipients, and without the boots that nobody else has keys of."""
        left = {
            boot: {name: key for name, key in row.items() if name not in gone} for boot, row in self.table().items()
        }
        return {boot: row for boot, row in left.items() if row}

    def authentic(self, device: str, ack: Received) -> bool:
        """Check the MAC of an acknowledgement against the recipient's ack key in the start it speaks of."""
        plain = cose.ack_plain(device, ack.purpose, ack.recipient, ack.boot, ack.seq)
        row: Any = self.table().get(ack.boot, {}).get(ack.recipient)
        return bool(row) and hmac.compare_digest(hmac.digest(row[0], plain, hashlib.sha256), ack.mac)


def mark(public: bytes) -> bytes:
    """Return what a recipient's public key is known by."""
    return hashlib.sha256(public).digest()
