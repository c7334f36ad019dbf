"""One lane on a real queue and one collector, and between them whatever a test puts there; no process, no socket."""

import os
from collections.abc import Iterable
from pathlib import Path

from agent.core import cose
from agent.core.secret import Secret
from agent.core.telemetry import Message
from agent.guard.egress import Ledger
from agent.guard.lane import START, Lane, Mine
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.vault import DirectVault
from provisioning.collector.open import Place
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.chaos.soak import PURPOSE, Memory
from tests.collector.device import CONSENT, HOME, KEY

FLEET, DEVICE = "meadow", "r7k2"
TOPIC = f"privet/1/{FLEET}/{DEVICE}/up/comfort"
Sent = tuple[tuple[int, int], bytes]


class Pair:
    """A device that keeps one reading in each record, and its collector."""

    def __init__(self, folder: Path, limit: int = 16 << 20, lane: type[Lane] = Lane) -> None:
        self.folder, self.limit, self.kind = folder, limit, lane
        self.store = Memory()
        self.uptime = self.boot = 0
        self.places: dict[int, tuple[int, int]] = {}  # reading: its record
        self.last: dict[int, int] = {}  # start: its last record
        self.said: list[str] = []
        self.collector = Collector(FLEET, "home", KEY, Store(folder / "telemetry.db"), self.said.append)
        self.restart()

    def restart(self) -> None:
        """Begin a new start of the guard over what is on the disk."""
        self.boot += 1
        queue = Queue(RealSystem(), str(self.folder / "queue"), self.limit, owner=(os.getuid(), os.getgid()))
        mine = Mine(fleet=FLEET, device=DEVICE, boot=self.boot)
        vault, ledger = DirectVault(Secret(bytes(32))), Ledger(RealSystem(), self.store)
        self.lane = self.kind(mine, PURPOSE, [HOME], queue, vault, self.store, ledger)
        self.lane.told = {"home": CONSENT, "maker": CONSENT}

    def measure(self, count: int) -> None:
        """Accept readings, each in a record of its own; a reading is its own number."""
        for _ in range(count):
            number = len(self.places)
            row = Message(name="n", unit="1", purpose="comfort", scale=0, value=number, at=1_795_489_000)
            self.lane.keep([row], (), self.uptime)
            self.places[number] = (self.boot, self.lane.seq)
            self.last[self.boot] = self.lane.seq

    def new_epoch(self) -> None:
        """Let the next record open an epoch."""
        self.lane.key = None

    def send(self, room: int = 20) -> list[Sent]:
        """Return what the device would publish now."""
        return self.lane.to_send(room, self.uptime)

    def give(self, payloads: Iterable[bytes]) -> list[bytes]:
        """Hand messages to the collector; return its answers."""
        return [answer for _, answer in self.collector.receive([(TOPIC, payload) for payload in payloads])]

    def answer(self, answers: Iterable[bytes]) -> bool:
        """Hand acknowledgements to the device; True when it believed one."""
        believed = [self.lane.acknowledged(cose.split_ack(answer), self.uptime) for answer in answers]
        return any(believed)

    def drain(self, seconds: int) -> int:
        """Let both talk until nothing waits, at most for so long; return the seconds it took."""
        for second in range(seconds):
            self.uptime += 1
            for _ in range(100):  # what a second holds
                sent = self.send()
                self.answer(self.give(payload for _, payload in sent))
                if not sent:
                    break
            if not self.waiting:
                return second
        return seconds

    @property
    def waiting(self) -> bool:
        """True while something is not released."""
        return bool(self.lane.queue.pending(START, 1))

    def read(self) -> set[int]:
        """Return the readings the collector has."""
        return {int(reading.value) for reading in self.collector.readings()}

    def owned_up(self) -> set[int]:
        """Return the readings in the gaps the collector was told of."""
        gaps = [(gap.boot, gap.first, gap.last) for _, gap in self.collector.store.gaps()]
        return {
            n for n, (b, seq) in self.places.items() for boot, first, last in gaps if b == boot and first <= seq <= last
        }

    def place(self, boot: int) -> Place:
        """Name a start of the device."""
        return Place(device=DEVICE, purpose="comfort", boot=boot)
