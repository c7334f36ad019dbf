"""The way out: declared, agreed to, minimised, sealed, queued; the courier gets sealed bytes and nothing else."""

from collections.abc import Callable

from agent.core import cose
from agent.core.consent import require
from agent.core.errors import BadInput, NotConsented, PrivetError
from agent.core.pace import figures_only, span_of
from agent.core.policy import Policy
from agent.core.record import replace
from agent.core.telemetry import Message, Purpose, Sample
from agent.guard.books import Books
from agent.guard.egress import Ledger
from agent.guard.heeding import heed
from agent.guard.hold import Hold
from agent.guard.intake import Intake
from agent.guard.lane import Lane, Mine
from agent.guard.windows import Windows
from agent.guard.withheld import Withheld
from agent.system.door import System
from agent.system.queue import Queue
from agent.system.vault import Vault

IN_FLIGHT = 20  # publishes the courier has not confirmed as sent
AT_ONCE = 5000  # readings in one request
LATE = 100  # texts of one purpose that wait for a disk that takes nothing
AGAIN = 300  # seconds between attempts to queue them

NOTHING = Purpose(id="", title="", text="", basis="", recipients=(), retention_days=1, pseudonym=0)

Publish = Callable[[int, str, bytes], None]
Done = Callable[[PrivetError | None], None]


class Outbox:
    """Takes readings and texts, and hands sealed records to the courier."""

    def __init__(
        self, system: System, books: Books, vault: Vault, mine: Mine, open_queue: Callable[[str, int], Queue]
    ) -> None:
        self.system = system
        self.books = books
        self.vault = vault
        self.mine = mine
        self.open_queue = open_queue
        self.ledger = Ledger(system, books.store)
        self.intake = Intake(system, Withheld(system, books.store))
        self.windows: Windows = self.intake.windows
        self.withheld: Withheld = self.intake.withheld
        self.policy: Policy | None = None
        self.lanes: dict[str, Lane] = {}
        self.holds: dict[str, Hold] = {}
        self.waiting: dict[str, tuple[list[Message], list[tuple[str, str, int]]]] = {}
        self.tickets: list[Done] = []
        self.late: dict[str, list[tuple[str, str, int]]] = {}  # texts; whoever sent readings was told and keeps them
        self.failed = 0  # when the disk took nothing
        self.count = 0
        self.undone: PrivetError | None = None  # why what is to be destroyed is still there
        self.tried = 0  # when that was asked last
        self.ends: Callable[[Policy], None] = lambda policy: None  # consents that it has no place for
        self.publish: Publish | None = None
        self.number = 0
        self.unsent: dict[int, str] = {}
        self.words: dict[str, tuple[str, bytes]] = {}  # that are no telemetry, to be said once

    def adopt(self, policy: Policy) -> None:
        """Take up a policy: one lane per purpose; a purpose that is gone loses its lane and its queue.

        What was taken before is sealed first, to those it was taken for.
        """
        self.settle()
        if self.policy is not None:
            self.flush()
        self.books.spread(policy)
        self.policy = policy
        self.withheld.only(field.name for field in policy.fields)
        for purpose in policy.purposes:
            old = self.lanes.get(purpose.id)
            if old is not None:
                old.purpose = purpose
            else:
                made = self.lanes[purpose.id] = self.lane_of(purpose.id, policy, purpose)
                self.ledger.missed(purpose.id, sorted(made.acks.holders()), made.queue)
            self.hold(purpose.id, span_of(policy.fields, purpose.id))
        self.heed()

    def lane_of(self, name: str, policy: Policy, purpose: Purpose | None = None) -> Lane:
        """Open what is kept of a purpose, which the policy may have no more."""
        queue = self.open_queue(name, policy.queue_bytes)
        return Lane(
            self.mine, purpose or replace(NOTHING, id=name), [], queue, self.vault, self.books.store, self.ledger
        )

    def heed(self, anew: str = "") -> None:
        """Take up what the owner agrees to now (`heeding`)."""
        self.tried = self.system.clock().uptime
        self.undone = None if self.policy is None else heed(self, self.policy, anew)

    def drop(self, name: str) -> None:
        """Forget what waits to be sealed for a purpose."""
        self.waiting.pop(name, None)
        self.late.pop(name, None)
        self.windows.forget(name)
        self.withheld.only(field.name for field in (self.policy.fields if self.policy else ()) if field.purpose != name)

    def hold(self, name: str, span: int) -> None:
        """Have what belongs to a purpose leave at the end of each span only; 0: at once."""
        known = self.holds.pop(name, None)
        if span:
            same = known is not None and known.span == span
            self.holds[name] = known if known and same else Hold(span, self.mine.device, name, self.mine.boot)
        else:
            self.lanes[name].gate = None

    def settle(self) -> None:
        """Close every bucket: its figures, of what came so far, wait to be sealed."""
        self.wait(self.windows.take(list(self.windows.open)))

    def wait(self, messages: list[Message]) -> None:
        """Have messages sealed with the next flush."""
        for message in messages:
            self.waiting.setdefault(message.purpose, ([], []))[0].append(message)
        self.count += len(messages)

    def take(self, samples: list[Sample], done: Done) -> int:
        """Accept readings all together or refuse them all, counted; `done` is called when they are durable.

        Returns how many are kept: those over the declared number in a span are not.
        """
        policy = self.policy
        if policy is None:
            raise BadInput("no policy is in force yet, so nothing is declared; set the device up first")
        if len(samples) > AT_ONCE:
            raise BadInput(f"one request holds at most {AT_ONCE} readings; send them in several")
        try:
            kept, messages = self.intake.accept(policy, samples, self.willing)
        except PrivetError as error:
            self.withheld.refused(error, policy, samples, self.agreed)
            raise
        self.wait(messages)
        self.tickets.append(done)
        return kept

    def willing(self, purpose: str) -> None:
        """Refuse a purpose that the owner does not agree to."""
        if not self.agreed(purpose):
            if self.policy is not None:
                require(self.books.consents, self.policy, purpose)
            raise NotConsented(f"nothing was sent: {purpose} is only just being set up; send it again")

    def post(self, purpose: str, name: str, text: str) -> bool:
        """Queue a text (a warning) under a purpose, if it is declared and the owner has agreed to it."""
        if not self.agreed(purpose):
            return False
        self.waiting.setdefault(purpose, ([], []))[1].append((name, text, self.system.clock().wall))
        self.count += 1
        return True

    def flush(self) -> None:
        """Seal and queue all that waits, then answer whoever waits for it."""
        uptime = self.system.clock().uptime
        if self.late and uptime - self.failed >= AGAIN:
            for purpose, texts in self.late.items():
                self.waiting.setdefault(purpose, ([], []))[1][:0] = texts
                self.count += len(texts)
            self.late = {}
        if self.undone is not None and uptime - self.tried >= AGAIN:
            self.heed()
        if self.ledger.due():
            self.ledger.keep()
        self.withheld.keep()
        self.wait(self.windows.closed(self.system.clock().wall))
        if not self.count and not self.tickets:
            return
        waiting, tickets = self.waiting, self.tickets
        self.waiting, self.tickets, self.count = {}, [], 0
        failure: PrivetError | None = None
        for purpose in sorted(waiting):
            messages, texts = waiting[purpose]
            try:
                lane = self.lanes[purpose]
                lane.keep(messages, texts, uptime)
                if purpose in self.holds:
                    figures = not texts and figures_only(messages)
                    self.holds[purpose].sealed((lane.mine.boot, lane.seq), self.system.clock().wall, figures=figures)
            except PrivetError as error:
                failure, self.failed = error, uptime
                if texts:
                    self.late[purpose] = [*self.late.get(purpose, ()), *texts][:LATE]
        for done in tickets:
            done(failure)

    def pump(self) -> None:
        """Give the courier what it has room for, oldest first."""
        clock = self.system.clock()
        uptime = clock.uptime
        self.speak()
        for name, hold in self.holds.items():
            self.lanes[name].gate = hold.gate(clock.wall)
        for name in sorted(self.lanes):
            if self.publish is None or not self.agreed(name):
                continue
            for _, payload in self.lanes[name].to_send(IN_FLIGHT - len(self.unsent), uptime):
                if not self.tell(name, payload):
                    return

    def left(self) -> float:
        """Return the seconds until a bucket is over, or something that is held may leave."""
        now = self.system.clock().wall
        return min([self.windows.left(now), *(hold.left(now) for hold in self.holds.values())])

    def tell(self, name: str, payload: bytes) -> bool:
        """Hand one record to the courier; False when there is none, because it went while it was being told."""
        publish = self.publish
        if publish is None:
            return False
        self.number += 1
        self.unsent[self.number] = name
        publish(self.number, f"up/{name}", payload)
        return True

    def say(self, name: str, suffix: str, payload: bytes) -> None:
        """Hand one message that is no telemetry to the courier as soon as it has room, once.

        A newer one of the same name takes its place.
        """
        self.words[name] = (suffix, payload)
        self.speak()

    def speak(self) -> None:
        """Hand over what was to be said, as far as the courier has room."""
        while self.words and self.publish is not None and len(self.unsent) < IN_FLIGHT:
            suffix, payload = self.words.pop(next(iter(self.words)))
            self.number += 1
            self.unsent[self.number] = suffix
            self.publish(self.number, suffix, payload)

    def agreed(self, name: str) -> bool:
        """Say whether the owner agrees to anybody getting this purpose right now (`heed` has asked)."""
        return name in self.lanes and bool(self.lanes[name].keys)

    def sent(self, number: int) -> None:
        """Note that the broker has one; that makes room and proves nothing."""
        self.unsent.pop(number, None)

    def connected(self, publish: Publish | None) -> None:
        """Begin again with the oldest record on a new connection; None when there is no courier."""
        self.publish = publish
        self.unsent = {}
        self.rewind()

    def rewind(self) -> None:
        """Begin again with the oldest record, on a new connection to the broker; what the courier has counts on."""
        for lane in self.lanes.values():
            lane.rewind()

    def acknowledge(self, payload: bytes) -> None:
        """Take a recipient's "received up to"; raises BadInput when it is not authentic."""
        ack = cose.split_ack(payload)
        lane = self.lanes.get(ack.purpose)
        if lane is None or not lane.acknowledged(ack, self.system.clock().uptime):
            raise BadInput("an acknowledgement was not authentic and was ignored")

    def standing(self) -> dict[str, object]:
        """Say for the status what waits and what was lost."""
        return {
            name: {"accepted": lane.accepted, "dropped": lane.dropped, "bytes": lane.queue.size}
            for name, lane in sorted(self.lanes.items())
        }
