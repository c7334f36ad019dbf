"""One lane of telemetry per purpose: sealed, queued on disk, sent, and let go only when every recipient has it."""

from collections.abc import Sequence

from agent.core import cbor, cose
from agent.core.cose import Received, Stream
from agent.core.errors import PrivetError
from agent.core.patience import Patience
from agent.core.record import Record
from agent.core.secret import Secret
from agent.core.telemetry import Message, Purpose, pack
from agent.guard.acks import Acks
from agent.guard.books import Store
from agent.guard.egress import Ledger, digest_of
from agent.guard.gaps import Gaps, joined
from agent.guard.gaps import lost as lost_of
from agent.guard.packs import fraction, worded
from agent.system.queue import Queue
from agent.system.segment import Lost, Row, cost
from agent.system.vault import Epoch, Vault

Position = tuple[int, int]
START: Position = (0, 0)
EPOCH_RECORDS = 10_000
EPOCH_SECONDS = 86_400
ROWS = 200  # readings in one sealed record
BATCH = 512 << 10  # bytes of plaintext sealed and kept at once
SEALED = 64  # bytes that sealing adds to a record, at most
GAPS = 16  # gap records that are reckoned with when room is made, beside those known
WINDOW = 256  # records that are sent while nobody answers
NONE, ANSWER, RELEASE = 0, 1, 2  # news of the recipients that are behind


class Mine(Record):
    """Who is sending: fleet, device, number of this start of the guard."""

    __slots__ = ("boot", "device", "fleet")
    fleet: str
    device: str
    boot: int


class Lane:
    """One purpose."""

    def __init__(
        self,
        mine: Mine,
        purpose: Purpose,
        keys: Sequence[tuple[str, bytes]],
        queue: Queue,
        vault: Vault,
        store: Store,
        ledger: Ledger,
    ) -> None:
        self.mine = mine
        self.purpose = purpose
        self.keys = keys
        self.queue = queue
        self.vault = vault
        self.store = store
        self.ledger = ledger
        self.seq = self.epoch = 0
        self.sealed = self.since = 0
        self.key: Secret | None = None
        self.told: dict[str, bytes] = {}  # the owner's consent, as each recipient is told of it
        self.holes: tuple[Lost, ...] = joined([*queue.lost, *map(lost_of, store.get(f"holes/{purpose.id}") or ())])
        self.gaps = Gaps(store, purpose.id, queue)
        self.acks = Acks(store, purpose.id)
        self.confirmed: dict[tuple[int, str], int] = {}
        self.released: dict[int, int] = {}
        self.front = self.upto = START  # the furthest that was sent, and that is to be repeated: before patience ended
        self.again: Position | None = None  # how far it was repeated, None: nothing is to be
        self.flying = 0  # records sent since anybody answered
        self.spare = 0  # records that may be repeated
        self.waits = False  # whether something was sent and not released
        self.news = NONE  # what came since patience ended last
        self.silent = False  # whether patience ended last without any news
        self.patience = Patience()  # until more are sent although nothing was released
        self.heard = 0  # when a record was released last, or patience ended
        self.accepted = 0
        self.dropped = 0
        self.gate: Position | None = None  # the last record that may leave; None: all may
        self.last: Sequence[Message] = ()  # the latest record's, for whoever asks what leaves

    def keep(self, messages: Sequence[Message], texts: Sequence[tuple[str, str, int]], uptime: int) -> None:
        """Seal messages and texts (name, text, time) into records and queue them durably."""
        plains = []
        for start in range(0, len(messages), ROWS):
            plains.append(cbor.encode(pack(tuple(messages[start : start + ROWS]), fraction)))
        if texts:
            plains.append(cbor.encode(worded(texts)))
        self.write(plains, uptime)
        self.last = messages[-ROWS:] or self.last
        self.accepted += len(messages) + len(texts)

    def write(self, plains: list[bytes], uptime: int) -> None:
        """Seal plaintexts and append them, in batches the queue takes; the first that fails ends it with its error."""
        batch: list[bytes] = []
        size = 0
        for plain in plains:
            if batch and size + len(plain) > BATCH:
                self.batch(batch, uptime)
                batch, size = [], 0
            batch.append(plain)
            size += len(plain)
        if batch:
            self.batch(batch, uptime)

    def batch(self, plains: list[bytes], uptime: int) -> None:
        """Seal and append one batch, with a gap record for everything that was lost or must make room for it.

        The numbers of a batch that could not be kept are never sealed anew: they become a gap, under a fresh key.
        """
        first = self.seq + 1
        rows: list[Row] = []
        opening = self.key is None or self.sealed >= EPOCH_RECORDS or uptime - self.since >= EPOCH_SECONDS
        try:
            if opening:
                rows.append(Row(boot=self.mine.boot, seq=self.number(), body=self.open_epoch(uptime).body))
            gap_records = GAPS + len(self.holes) + len(self.gaps)
            size = cost([row.body for row in rows]) + cost(plains) + SEALED * (len(plains) + 2 * gap_records)
            lost = (*self.holes, *self.queue.make_room(size))
            if lost:
                self.ledger.keep()
            told = self.gaps.to_tell(lost)
            self.gaps.note((self.mine.boot, self.seq + 1), told, lost)
            gaps = [cose.gap_plain(gap.boot, gap.first, gap.boot, gap.last, gap.count) for gap in told]
            rows.extend(self.seal([*gaps, *plains]))
            self.queue.append(rows, opening)
        except PrivetError:
            if self.seq >= first:
                self.holes = (*self.holes, Lost(boot=self.mine.boot, first=first, last=self.seq, count=len(plains)))
            self.key = None
            raise
        self.note(rows, [*([b""] if opening else []), *map(digest_of, (*gaps, *plains))])
        self.gaps.settle()
        self.dropped += sum(gap.count for gap in lost)
        self.holes = ()
        if self.store.get(f"holes/{self.purpose.id}"):
            self.store.put({f"holes/{self.purpose.id}": None})

    def note(self, rows: list[Row], digests: list[bytes]) -> None:
        """Write the batch into the ledger."""
        self.ledger.note(self.purpose.id, [name for name, _ in self.keys], rows, digests)

    def seal(self, plains: list[bytes]) -> list[Row]:
        """Number and seal plaintexts under the epoch key."""
        if self.key is None:
            return []
        numbered = [(self.number(), plain) for plain in plains]
        self.sealed += len(numbered)
        bodies = self.vault.seal_records(self.key, self.stream(), numbered)
        pairs = zip(numbered, bodies, strict=True)
        return [Row(boot=self.mine.boot, seq=seq, body=body) for (seq, _), body in pairs]

    def number(self) -> int:
        """Take the next number of this start."""
        self.seq += 1
        return self.seq

    def stream(self) -> Stream:
        """Name the stream that records of this epoch belong to."""
        m = self.mine
        return Stream(fleet=m.fleet, device=m.device, purpose=self.purpose.id, boot=m.boot, epoch=self.epoch)

    def open_epoch(self, uptime: int) -> Epoch:
        """Make a fresh epoch key; the recipients' ack keys are kept, sealed, before the first record needs them.

        The number of an epoch is that of its key record. A recipient has one ack key through all starts: by it the
        receiver knows that key records, and gaps told in another start, are of one sender.
        """
        self.epoch = self.seq
        made = self.vault.new_epoch(self.stream(), self.keys, self.acks.known(self.keys), self.told)
        oldest = self.queue.pending(START, 1)
        self.acks.enter(self.mine.boot, made.acks, self.keys, oldest[0].boot if oldest else self.mine.boot)
        self.key, self.sealed, self.since = made.key, 0, uptime
        return made

    def to_send(self, room: int, uptime: int) -> list[tuple[Position, bytes]]:
        """Return the next records to publish, at most `room`: those not sent yet, then those to be repeated."""
        if self.waits and uptime - self.heard >= self.patience.seconds:
            self.insist(uptime)
        rows = self.take(self.front, min(room, WINDOW - self.flying))
        if rows:
            self.front = (rows[-1].boot, rows[-1].seq)
            self.flying += len(rows)
            self.patience.sent(self.front, uptime)
        spare = min(room - len(rows), self.spare)
        if self.again is not None and spare > 0:
            repeated = [row for row in self.take(self.again, spare) if (row.boot, row.seq) <= self.upto]
            self.again = (repeated[-1].boot, repeated[-1].seq) if repeated else None
            self.spare -= len(repeated)
            rows = (*rows, *repeated)
        if rows and not self.waits:
            self.waits, self.heard = True, uptime
        return [((row.boot, row.seq), cose.message(row.boot, row.seq, row.body)) for row in rows]

    def take(self, after: Position, limit: int) -> tuple[Row, ...]:
        """Return the records that follow and may leave; none that somebody could open who is to get nothing."""
        rows: list[Row] = []
        while len(rows) < limit:
            found = self.queue.pending(after, limit - len(rows))
            rows += [row for row in found if not self.acks.held(row.boot)]
            if not found or not self.acks.held(found[-1].boot):
                break
            after = (found[-1].boot, cose.MAX_SEQ)
        return tuple(row for row in rows if self.gate is None or (row.boot, row.seq) <= self.gate)

    def insist(self, uptime: int) -> None:
        """Send more although nothing was released for so long.

        What releases the first record may be the last one, a gap above all: so a further window of what was not sent
        goes out, and a window of what was: from the oldest on, and on from there if whoever waits for it does answer.
        """
        self.silent = self.news == NONE
        self.patience.ended()
        self.heard, self.flying, self.spare, self.upto = uptime, 0, WINDOW, self.front
        if self.again is None or self.news != ANSWER:
            self.again = START
        self.news = NONE

    def rewind(self) -> None:
        """Begin again with the oldest record that is still here: a new connection."""
        self.front, self.again = START, None
        self.flying = self.spare = 0
        self.waits = self.silent = False
        self.news = NONE
        self.patience.anew()

    def acknowledged(self, ack: Received, uptime: int) -> bool:
        """Let go of what every recipient has; False when the acknowledgement is not authentic."""
        if not self.acks.authentic(self.mine.device, ack):
            return False
        self.flying = 0
        self.confirmed[ack.boot, ack.recipient] = max(ack.seq, self.confirmed.get((ack.boot, ack.recipient), 0))
        reached = min((self.confirmed.get((ack.boot, name), 0) for name in self.awaited(ack.boot)), default=ack.seq)
        if reached > self.released.get(ack.boot, 0):
            self.released[ack.boot] = reached
            if self.queue.lets_go(ack.boot, reached):
                self.ledger.keep()
            self.queue.release(ack.boot, reached)
            self.gaps.release(ack.boot, reached)
            self.patience.answered((ack.boot, reached), uptime)
            self.heard, self.spare = uptime, WINDOW
            self.waits, self.news = self.queue.count > 0, RELEASE
        elif ack.seq > reached:  # another one is behind, and this one is not waiting for anything
            return True
        self.news = max(self.news, ANSWER)
        if self.silent and self.again is not None:  # somebody is back
            self.again, self.spare, self.upto = START, WINDOW, self.front
        self.silent = False
        return True

    def awaited(self, boot: int) -> set[str]:
        """Return who must have the records of a boot: whom they are sealed to and the policy still names."""
        return self.acks.of(boot) & set(self.purpose.recipients)

    def move(self, mine: Mine, purpose: Purpose, keys: Sequence[tuple[str, bytes]]) -> None:
        """Go on for other recipients: under a boot number of its own, because they cannot open what was before."""
        self.mine, self.purpose, self.keys = mine, purpose, keys
        self.seq, self.epoch, self.key = 0, 0, None

    def part(self, gone: set[str]) -> None:
        """Part from recipients: what is queued is sealed to them too, so it is destroyed; the others are told a gap.

        They may know the epoch keys, and hear what the others hear. Whoever stays keeps its ack key, by which it
        believes the gap. The loss is durable before anything goes, and the parting is finished last: a start that
        finds it half done does it again.
        """
        left = self.acks.without(gone)
        if not left:
            self.forget()
            return
        self.key, self.last = None, ()
        self.ledger.keep()
        self.holes = joined([*self.holes, *self.queue.losses()])
        rows = [[one.boot, one.first, one.last, one.count] for one in self.holes]
        self.store.put({f"holes/{self.purpose.id}": rows})
        self.queue.erase()
        self.acks.keep(left)
        self.rewind()

    def forget(self) -> None:
        """Destroy the key of this purpose and everything queued under it (consent was withdrawn)."""
        self.key = None
        self.last = ()
        self.holes = ()
        self.queue.erase()
        self.gaps.forget()
        self.store.put({f"holes/{self.purpose.id}": None})
        self.acks.keep({})
        self.rewind()
