"""The whole guard of one device: settings, telemetry and sockets around one selector, one turn at a time."""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from agent.core.errors import PrivetError
from agent.core.health import NORMAL, stage
from agent.core.policy import Policy
from agent.guard import breaker, words
from agent.guard.abroad import Abroad
from agent.guard.acts import Acts
from agent.guard.agreeing import Agreeing
from agent.guard.answer import Answer
from agent.guard.books import Books
from agent.guard.callers import caller
from agent.guard.deletions import Deletions
from agent.guard.ending import end
from agent.guard.enrolment import Enrolment
from agent.guard.erasure import Erasure
from agent.guard.guard import Guard
from agent.guard.handover import Handover
from agent.guard.lane import Mine
from agent.guard.late import LateStore
from agent.guard.line import Client, LineServer, Reply, refusal
from agent.guard.outbox import Outbox
from agent.guard.parts import Parts
from agent.guard.port import Port
from agent.guard.posture import Posture
from agent.guard.pruning import Pruning
from agent.guard.readings import read_samples
from agent.guard.refusals import Refusals
from agent.guard.reopening import reopen
from agent.guard.rights import Rights
from agent.guard.rules import Rules
from agent.guard.signs import on_console, restart_wanted
from agent.guard.traffic import Tell, Traffic
from agent.system.door import Watch

IDLE = 3600.0
PATIENCE = 900  # seconds of a start in which a broker that was reached before may be out of reach without a word
OURS = (
    "/etc",
    "/etc/privet",
    "/etc/privet/firewall",
    "/run/motd.d",
    "/var/lib/privet",
    "/var/lib/privet/keys",
    "/var/lib/privet/originals",
)


class House(Abroad):
    """One guard, ready to be turned."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.system = parts.system
        self.unhealthy = breaker.begin(parts.system)
        self.well = False
        self.doubted = False
        self.selector = selectors.DefaultSelector()
        self.store = LateStore(parts.store, parts.system)
        self.books = Books(self.store)
        self.system.boot = self.books.next_boot()
        identity = parts.anchor.identity
        mine = Mine(fleet=identity.fleet, device=identity.device, boot=self.system.boot)
        self.outbox = Outbox(self.system, self.books, parts.vault, mine, parts.open_queue)
        self.rules = Rules(self.store, parts.vault, parts.settings, parts.anchor)
        self.guard = Guard(self.system, self.books, self.store, self.rules, parts.settings, self.outbox.post)
        self.answer = Answer(self.guard, self.outbox, lambda: self.link[0] == "connected")
        self.acts = Acts(self.guard, self.standing)
        place = (identity.fleet, identity.device)
        self.deletions = Deletions(self.system, self.store, parts.vault, place, self.outbox.say)
        self.outbox.ends = self.ends
        agreeing = Agreeing(self.guard, self.outbox, self.deletions)
        rights = Rights(self.guard, self.outbox, self.deletions, lambda: self.standing()["egress"])
        self.acts.table.update(
            {**agreeing.table, **rights.table, **Erasure(self.guard, parts.vault, self.deletions, self.handed).table}
        )
        self.watch: Watch | None = None
        self.watched: set[str] = set()
        self.servers: list[LineServer] = []
        self.port: Port | None = None
        self.link = ("offline", "no courier is connected")
        self.refusals, self.pruning = Refusals(self.system, self.store), Pruning(self.system, self.store, self.rules)
        self.enrolment: Enrolment | None = None
        self.handover: Handover | None = None
        self.traffic: Traffic | None = None
        self.counting: Callable[[Tell], Tell] = lambda tell: tell
        self.stopping = False
        self.shut_in = False
        self.finishes = True  # whether this start does what had to wait at first boot
        self.say: Callable[[str], None] = on_console  # where first boot tells how far it is
        self.lost = ""

    def start(self) -> None:
        """Take up the policy, run what is left of the first boot, then watch and sweep."""
        aside = self.load()
        for place in [*OURS, *sorted(Posture(self.system, self.parts.settings, self.rules.baseline()).places)]:
            with suppress(PrivetError):  # one that is not there, or lies behind a link where we never write
                self.system.sweep([place])
        fresh = self.parts.first_boot(self)
        self.rules.shut_in = self.rules.shut_in or self.shut_in
        if not self.shut_in:
            reopen(self.system)
        self.guard.start(quiet=fresh)
        if fresh and (late := self.guard.posture.late()):
            self.say(restart_wanted(late))
        if aside:
            self.guard.announce(words.fallen_back(aside, self.rules.bare, self.unhealthy, self.system.clock()))
        if self.lost:
            self.guard.announce(words.memory_lost(self.lost, self.system.clock()))
        self.watched = set(self.guard.posture.places)
        self.watch = self.system.watch(sorted(self.watched))
        self.selector.register(self.watch.fileno(), selectors.EVENT_READ, self.moved)
        if self.enrolment is not None and not self.shut_in:
            self.enrolment.begin()

    def enrol(self, owner: tuple[int, int]) -> None:
        """See to the device's own certificate, for a courier of this account; before `start`."""
        vault, anchor, tell = self.parts.vault, self.parts.anchor, self.guard.announce
        self.enrolment = Enrolment(self.system, self.store, vault, anchor, owner, tell, self.relink)
        self.handover = Handover(self.enrolment, tell)

    def handed(self) -> None:
        """The owner erased this device: its receipt goes to the fleet while there is a link."""
        if self.handover is not None:
            self.handover.look()

    def reconcile(self, uid: int) -> None:
        """Compare what the courier's account sends, by the kernel's count, with what it was given to send."""
        self.traffic = Traffic(self.system, self.store, uid, self.guard.announce)
        self.counting = self.traffic.telling

    def load(self) -> str:
        """Take up the policy in force; after too many starts that never got well the last good one, or none."""
        known = self.store.get("good") is not None
        step = stage(self.unhealthy, known)
        aside = "" if step == NORMAL else self.rules.fall_back(step)
        policy = self.rules.load(self.system) if step == NORMAL else self.rules.policy
        if policy is not None:
            self.outbox.adopt(policy)
        return aside

    def ends(self, policy: Policy) -> None:
        """End the consents that a policy about to be taken up has no place for."""
        for purpose in end(self.outbox, self.deletions, policy, self.rules.now(self.system.clock())):
            self.recall(purpose)

    def doubt(self) -> None:
        """Say once in each start that the broker, which was reached before, is not: a warning, not a failure."""
        clock = self.system.clock()
        if self.link[0] == "connected" or self.doubted or clock.uptime < PATIENCE or not self.books.store.get("linked"):
            self.doubted = self.doubted or self.link[0] == "connected"
            return
        self.doubted = True
        self.guard.announce(words.unlinked(self.link[1], clock))

    def healthy(self) -> None:
        """This start got well: it is ready and has looked at everything."""
        if not self.well:
            self.well = True
            breaker.well(self.system)
            self.rules.well()

    def listen(self, folder: str, courier_uid: int, courier_gid: int) -> None:
        """Open the sockets of the device in a folder that exists."""
        control = LineServer(self.selector, f"{folder}/control.sock", 0o666, self.control)
        intake = LineServer(self.selector, f"{folder}/telemetry.sock", 0o660, self.intake, courier_gid)
        self.servers = [control, intake]
        self.port = Port(self.selector, self.heard, self.courier_changed, courier_uid)
        self.port.open(f"{folder}/courier.sock", courier_gid)

    def attach(self, connection: socket.socket) -> None:
        """Use a courier at the other end of this connection (simulated fleets)."""
        if self.port is None:
            self.port = Port(self.selector, self.heard, self.courier_changed, 0)
        self.port.attach(connection)

    def turn(self, limit: float = IDLE) -> None:
        """Wait for the next thing at most `limit` seconds, answer it, and do what is due."""
        wait = min(limit, float(self.guard.due()), self.hold())
        for key, mask in self.selector.select(max(0.0, wait)):
            key.data(mask)
        heard = time.monotonic()
        self.guard.tick()
        self.watch_more()
        self.outbox.flush()
        self.deletions.let_go()
        self.pruning.turn()
        if self.link[0] == "connected":
            self.deletions.turn()
        self.outbox.pump()
        for server in self.servers:
            server.tidy(heard)
        if self.enrolment is not None and not self.shut_in:
            self.enrolment.turn()
        if self.handover is not None and not self.shut_in:
            self.handover.turn()
        if self.traffic is not None:
            self.traffic.turn(self.guard.sweeps)
        self.healthy()
        self.doubt()

    def watch_more(self) -> None:
        """Watch the directories that the latest look has found."""
        found = set(self.guard.posture.places) - self.watched
        if found and self.watch is not None:
            self.watched |= found
            self.watch.add(sorted(found))
            self.system.writers(sorted(found))

    def hold(self) -> float:
        """Return how soon to ask again whether somebody has answered, or a bucket of readings or a wait is over."""
        left = self.outbox.left()
        enrolment = IDLE if self.enrolment is None or self.shut_in else self.enrolment.wait()
        handover = IDLE if self.handover is None or self.shut_in else self.handover.wait()
        asks = self.deletions.wait() if self.link[0] == "connected" else IDLE
        return min([IDLE, left, enrolment, handover, asks, *(5.0 for lane in self.outbox.lanes.values() if lane.waits)])

    def moved(self, mask: int) -> None:
        """Answer changes in watched directories."""
        if self.watch is not None:
            self.guard.changed(set(self.watch.events()))

    def standing(self) -> dict[str, Any]:
        """Say for the status how telemetry and the link stand."""
        link = dict(zip(("state", "cause"), self.link, strict=True))
        enrolment = {} if self.enrolment is None else self.enrolment.standing()
        egress = {} if self.traffic is None else self.traffic.standing()
        said = {"telemetry": self.outbox.standing(), "withheld": self.outbox.withheld.shown()}
        told = {"deletions": self.deletions.standing(), "link": link, "egress": egress}
        return {**said, **told, "shut_in": self.shut_in, "enrolment": enrolment}

    def control(self, client: Client, request: dict[str, object]) -> Reply:
        """Answer one request on the control socket, by the role of whoever asks."""
        peer, now = client.peer, self.rules.now(self.system.clock())
        who = caller(self.system, peer.uid, peer.gid, self.books.grants, now)
        reply = self.acts.perform(who, {**request, "pid": client.peer.pid})
        if request.get("op") == "consent" and request.get("state") != "given":
            self.recall(str(request.get("purpose")))
        self.answer.tell()
        return reply

    def intake(self, client: Client, request: dict[str, object]) -> Reply:
        """Take readings from an application; the answer comes when they are durable."""
        samples, kept = read_samples(request, self.system.clock()), 0

        def done(failure: PrivetError | None) -> None:
            client.waiting -= 1
            client.reply(refusal(failure) if failure else {"ok": True, "accepted": kept})

        kept = self.outbox.take(samples, done)
        client.waiting += 1
        return None

    def stop(self) -> None:
        """Close everything; state and queue are already on disk."""
        self.outbox.settle()
        self.outbox.flush()
        self.outbox.ledger.keep()
        self.outbox.withheld.keep(now=True)
        if self.traffic is not None:
            self.traffic.keep()
        self.store.finish()
        for server in self.servers:
            server.close()
        if self.port is not None:
            self.port.close()
        if self.watch is not None:
            self.selector.unregister(self.watch.fileno())
            self.watch.close()
        self.selector.close()
        self.parts.vault.close()
