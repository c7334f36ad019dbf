"""One lane of telemetry per purpose: sealed, queued on disk, sent, and let go only when every recipient has it."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Protocol

from agent.core import cbor, cose
from agent.core.cose import Received, Stream
from agent.core.record import Record
from agent.core.secret import Secret
from agent.core.telemetry import Message, Purpose, pack
from agent.guard.books import Store
from agent.system.vault import Epoch, Vault

Position = tuple[int, int]
EPOCH_RECORDS = 10_000
EPOCH_SECONDS = 86_400
ROWS = 200  # readings in one sealed record
WINDOW = 256  # records that were sent and not yet acknowledged
FIRST_PATIENCE = 5
LONGEST_PATIENCE = 300


class Queued(Protocol):
    """One record as it lies in the queue."""

    boot: int
    seq: int
    body: bytes


class Queue(Protocol):
    """The durable queue of one purpose (agent.system.queue)."""

    def append(self, records: Sequence[tuple[int, int, bytes]]) -> Any:
        """Keep records durably; returns what had to be dropped to stay within the budget, or None."""

    def pending(self, after: Position, limit: int) -> Sequence[Queued]:
        """Return the oldest records after a position."""

    def release(self, up_to: Position) -> None:
        """Let go of everything up to a position."""

    def size(self) -> int:
        """Return the bytes on disk."""


class Mine(Record):
    """Who is sending: fleet, device, number of this start of the guard."""

    __slots__ = ("boot", "device", "fleet")
    fleet: str
    device: str
    boot: int


class Lane:
    """One purpose."""

    def __init__(
        self, mine: Mine, purpose: Purpose, keys: Sequence[tuple[str, bytes]], queue: Queue, vault: Vault, store: Store
    ) -> None:
        self.mine = mine
        self.purpose = purpose
        self.keys = keys
        self.queue = queue
        self.vault = vault
        self.store = store
        self.seq = 0
        self.epoch = 0
        self.sealed = 0
        self.since = 0
        self.key: Secret | None = None
        self.cursor: Position = (0, 0)
        self.flying: list[Position] = []
        self.confirmed: dict[str, Position] = {}
        self.patience = FIRST_PATIENCE
        self.heard = 0
        self.accepted = 0
        self.dropped = 0

    def keep(self, messages: Sequence[Message], texts: Sequence[tuple[str, str, int]], uptime: int) -> None:
        """Seal messages and texts (name, text, time) into records and queue them durably."""
        plains = []
        for start in range(0, len(messages), ROWS):
            plains.append(cbor.encode(pack(tuple(messages[start : start + ROWS]), fraction)))
        if texts:
            plains.append(cbor.encode([{-3: at, 0: name, 3: text} for name, text, at in texts]))
        self.write(plains, uptime)
        self.accepted += len(messages) + len(texts)

    def write(self, plains: list[bytes], uptime: int) -> None:
        """Seal plaintexts under the epoch key and append them; what the budget pushed out becomes a gap record."""
        records: list[tuple[int, int, bytes]] = []
        if self.key is None or self.sealed >= EPOCH_RECORDS or uptime - self.since >= EPOCH_SECONDS:
            records.append((self.mine.boot, self.seq + 1, self.open_epoch(uptime).body))
            self.seq += 1
        if self.key is None:
            return
        numbered = [(self.seq + 1 + place, plain) for place, plain in enumerate(plains)]
        bodies = self.vault.seal_records(self.key, self.stream(), numbered)
        self.seq += len(plains)
        self.sealed += len(plains)
        records.extend((self.mine.boot, seq, body) for (seq, _), body in zip(numbered, bodies, strict=True))
        gap = self.queue.append(records)
        if gap is not None:
            self.dropped += gap.count
            plain = cose.gap_plain(gap.from_boot, gap.from_seq, gap.to_boot, gap.to_seq, gap.count)
            self.write([plain], uptime)

    def stream(self) -> Stream:
        """Name the stream that records of this epoch belong to."""
        m = self.mine
        return Stream(fleet=m.fleet, device=m.device, purpose=self.purpose.id, boot=m.boot, epoch=self.epoch)

    def open_epoch(self, uptime: int) -> Epoch:
        """Make a fresh epoch key; the recipients' ack keys are kept, sealed, before the first record needs them."""
        self.epoch += 1
        made = self.vault.new_epoch(self.stream(), self.keys)
        table = self.store.get(f"acks/{self.purpose.id}") or {}
        mine = {name: key.reveal() for name, key in made.acks.items()}
        oldest = self.queue.pending((0, 0), 1)
        floor = oldest[0].boot if oldest else self.mine.boot
        kept = {boot: keys for boot, keys in table.items() if boot >= floor}
        kept[self.mine.boot] = [*kept.get(self.mine.boot, []), mine][-4:]
        self.store.put({f"acks/{self.purpose.id}": kept})
        self.key, self.sealed, self.since = made.key, 0, uptime
        return made

    def to_send(self, room: int, uptime: int) -> list[tuple[Position, bytes]]:
        """Return the next records to publish, at most `room`; starts over when nobody has answered for too long."""
        if self.flying and uptime - self.heard >= self.patience:
            self.rewind()
            self.patience = min(self.patience * 2, LONGEST_PATIENCE)
            self.heard = uptime
        room = min(room, WINDOW - len(self.flying))
        if room <= 0:
            return []
        if not self.flying:
            self.heard = uptime
        chosen = []
        for record in self.queue.pending(self.cursor, room):
            place = (record.boot, record.seq)
            chosen.append((place, cose.message(record.boot, record.seq, record.body)))
            self.flying.append(place)
            self.cursor = place
        return chosen

    def rewind(self) -> None:
        """Begin again with the oldest record that is still here (a new connection, or silence)."""
        self.cursor = (0, 0)
        self.flying = []

    def acknowledged(self, ack: Received, uptime: int) -> bool:
        """Let go of what every recipient has; False when the acknowledgement is not authentic."""
        if ack.recipient not in self.purpose.recipients or not self.authentic(ack):
            return False
        place = (ack.boot, ack.seq)
        if place <= self.confirmed.get(ack.recipient, (0, 0)):
            return True
        self.confirmed[ack.recipient] = place
        self.heard, self.patience = uptime, FIRST_PATIENCE
        reached = min(self.confirmed.get(r, (0, 0)) for r in self.purpose.recipients)
        if reached > (0, 0):
            self.queue.release(reached)
            self.flying = [p for p in self.flying if p > reached]
        return True

    def authentic(self, ack: Received) -> bool:
        """Check the MAC against the ack keys of the start it speaks of."""
        plain = cose.ack_plain(self.mine.device, ack.purpose, ack.recipient, ack.boot, ack.seq)
        table = self.store.get(f"acks/{self.purpose.id}") or {}
        found = False
        for keys in table.get(ack.boot, []):
            key = keys.get(ack.recipient)
            if isinstance(key, bytes) and hmac.compare_digest(hmac.digest(key, plain, hashlib.sha256), ack.mac):
                found = True
        return found

    def forget(self) -> None:
        """Destroy the key of this purpose and everything queued under it (consent was withdrawn)."""
        self.key = None
        self.queue.release((0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF))
        self.store.put({f"acks/{self.purpose.id}": None})
        self.rewind()


def fraction(exponent: int, mantissa: int) -> cbor.Tag:
    """Make a decimal fraction (CBOR tag 4, RFC 8949 §3.4.4)."""
    return cbor.Tag(tag=4, value=[exponent, mantissa])
