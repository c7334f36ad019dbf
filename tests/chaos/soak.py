"""A device, a broker that is killed again and again, and a collector that comes back later than the device.

The device is made of the agent's own parts: lane, queue on a real disk, vault, link. The history is checked record by
record, not by counters: each reading carries its own number.
"""

import os
import secrets
import selectors
import time
from pathlib import Path
from typing import Any

from agent.core import cose
from agent.core.errors import PrivetError
from agent.core.record import Record
from agent.core.secret import Secret
from agent.core.telemetry import Message, Purpose
from agent.courier.link import Pace
from agent.guard.egress import Ledger
from agent.guard.lane import START, Lane, Mine
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.vault import DirectVault
from provisioning.broker.mosquitto import Broker
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.collector.device import CONSENT
from tests.courier.rig import FLEET, Site

PURPOSE = Purpose(
    id="comfort",
    title="Comfort",
    text="Warmth of the room",
    basis="consent",
    recipients=("home",),
    retention_days=30,
    pseudonym=0,
)
DEVICE = "r7k2"
HASTE = 5  # the device's clock of patience runs so much faster here, that a minute shows what five would
EACH = 5  # readings in a record
LATER = 1.0  # seconds the collector comes back after the device
PACE = Pace(keepalive=2, slack=1, first=50, most=400)


class Memory:
    """The device's sealed store of small values, in memory: it is not what is tried here."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return a value, or None."""
        return self.values.get(name)

    def put(self, changes: dict[str, Any], notes: object = ()) -> None:
        """Keep values; None removes."""
        self.values = {k: v for k, v in {**self.values, **changes}.items() if v is not None}


class Device:
    """One purpose of one device, from reading to link; `restart` is a guard killed with -9."""

    def __init__(self, site: Site, directory: Path, port: int, trusting_puback: bool) -> None:
        self.directory, self.trusting_puback = directory, trusting_puback
        self.store = Memory()
        self.recipient = site.fleet.recipient_public("home")
        self.connect = lambda: site.link(DEVICE, port, self, PACE)
        self.link = self.connect()
        self.boot = self.next = self.published = self.restarts = 0
        self.places: dict[int, tuple[int, int]] = {}
        self.restart()

    def restart(self) -> None:
        """Forget all that is in memory, and begin a new boot over the queue that is on the disk.

        The courier, whose guard is gone, closes its link and waits for the next one.
        """
        self.link.close()
        self.link = self.connect()
        self.boot += 1
        self.restarts += self.boot > 1
        queue = Queue(RealSystem(), str(self.directory / "queue"), 64 << 20, owner=(os.getuid(), os.getgid()))
        vault = DirectVault(Secret(bytes(32)))
        mine = Mine(fleet=FLEET, device=DEVICE, boot=self.boot)
        self.lane = Lane(
            mine, PURPOSE, [("home", self.recipient)], queue, vault, self.store, Ledger(RealSystem(), self.store)
        )
        self.lane.told = {"home": CONSENT}
        self.places.clear()

    def measure(self) -> None:
        """Accept a record of readings, each with the next number."""
        at = 1_795_489_000
        row = [Message(name="n", unit="1", purpose="comfort", scale=0, value=self.next + n, at=at) for n in range(EACH)]
        self.lane.keep(row, (), self.uptime)
        self.next += EACH

    @property
    def uptime(self) -> int:
        """The device's seconds."""
        return int(time.monotonic() * HASTE)

    def turn(self) -> None:
        """Send what there is room for."""
        self.link.step()
        if self.link.connected:
            for place, payload in self.lane.to_send(20 - len(self.places), self.uptime):
                self.published += 1
                self.places[self.published] = place
                assert self.link.publish(self.published, "up/comfort", payload)

    def sent(self, message: int, cause: str) -> None:
        """The broker answered; the known-bad twin takes that for delivery."""
        place = self.places.pop(message, None)
        if self.trusting_puback and place is not None:
            self.lane.queue.release(*place)
            self.lane.flying = 0

    def received(self, kind: str, payload: bytes) -> None:
        """Take an acknowledgement."""
        if kind == "ack" and not self.trusting_puback:
            self.lane.acknowledged(cose.split_ack(payload), self.uptime)

    def state(self, word: str, cause: str) -> None:
        """On a new connection, begin again with the oldest that is not released."""
        if word == "connected":
            self.lane.rewind()

    @property
    def waiting(self) -> bool:
        """True while something is not released."""
        return bool(self.lane.queue.pending(START, 1))


class History(Record):
    """What a run left: numbers given and numbers read, in the order of the records; kills, restarts, and counts."""

    __slots__ = ("duplicates", "given", "kills", "read", "restarts", "seconds", "sessions")
    given: int
    read: tuple[int, ...]
    kills: int
    restarts: int
    duplicates: int
    sessions: int
    seconds: float

    @property
    def lost(self) -> int:
        """How many readings never came."""
        return len(set(range(self.given)) - set(self.read))

    @property
    def doubled(self) -> int:
        """How many came more than once after de-duplication."""
        return len(self.read) - len(set(self.read))

    @property
    def ordered(self) -> bool:
        """True when the records, in the order of their numbers, hold the readings in the order they were taken."""
        return list(self.read) == sorted(self.read)


def run(site: Site, directory: Path, seconds: float, trusting_puback: bool = False) -> History:
    """Kill the broker every 1.5 to 4 s and the guard every 2 to 5 s for so long, then let all that waits drain."""
    broker = site.broker(directory.name, durable=False)
    home = site.service("one")
    store = Store(directory / "telemetry.db")
    collector = Collector(FLEET, "home", site.fleet.recipient_key("home"), store, print)
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", broker.setup.port, context, "one")
    with broker:
        device = Device(site, directory, broker.setup.port, trusting_puback)
        chaos = Chaos(broker, device, line)
        began = time.monotonic()
        while time.monotonic() - began < seconds or (device.waiting and time.monotonic() - began < seconds + 20):
            chaos.turn(kill=time.monotonic() - began < seconds)
        for _ in range(20):
            chaos.turn(kill=False)
        device.link.close()
        line.close()
    rows = sorted((r.place.boot, r.seq, n, r.value) for n, r in enumerate(collector.readings()))
    duplicates = collector.tally.duplicates
    store.close()
    return History(
        given=device.next,
        read=tuple(int(value) for _, _, _, value in rows),
        kills=chaos.kills,
        restarts=device.restarts,
        duplicates=duplicates,
        sessions=line.sessions,
        seconds=time.monotonic() - began,
    )


class Chaos:
    """One loop for all three, and the hand that kills."""

    def __init__(self, broker: Broker, device: Device, line: Line) -> None:
        self.broker, self.device, self.line = broker, device, line
        self.kills = 0
        self.next_kill = time.monotonic() + between(1.5, 4.0)
        self.next_restart = time.monotonic() + between(2.0, 5.0)
        self.line_from = 0.0
        self.next_measure = 0.0

    def turn(self, kill: bool) -> None:
        """Let each do a little."""
        now = time.monotonic()
        if kill and now >= self.next_kill:
            self.broker.kill()
            while self.device.link.connected:
                self.device.turn()
            self.kills += 1
            self.next_kill = now + between(1.5, 4.0)
            self.line_from = float("inf")  # the collector learns of it, and comes back, later than the device
            self.broker.start()
        if kill and now >= self.next_restart:
            self.device.restart()
            self.next_restart = now + between(2.0, 5.0)
        if kill and now >= self.next_measure:
            self.next_measure = now + 0.02
            self.device.measure()
        with selectors.DefaultSelector() as selector:
            for descriptor, events in self.device.link.sockets():
                selector.register(descriptor, events)
            selector.select(0.005)
        try:
            self.device.turn()
        except PrivetError as error:
            print(error)
        if self.line_from == float("inf") and self.device.link.connected:
            self.line_from = time.monotonic() + LATER
        if now >= self.line_from:
            self.line.turn(0.005)


def between(least: float, most: float) -> float:
    """Return a number of seconds that nobody could foresee."""
    return least + secrets.randbelow(1000) / 1000 * (most - least)
