"""The telemetry half of the guard as a process of its own, on real files below a folder: `sender.py FOLDER`."""

import os
import selectors
import signal
import sys
from pathlib import Path
from typing import Any

from agent.core.consent import GIVEN, answer, notice_digest
from agent.core.errors import PrivetError
from agent.guard.books import Books
from agent.guard.lane import Mine
from agent.guard.line import Client, LineServer, refusal
from agent.guard.outbox import Outbox
from agent.guard.port import Courier, Port
from agent.guard.readings import read_samples
from agent.guard.rules import Rules, read_anchor
from agent.registry import settings
from agent.system.keys import FileSlot
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import WorkerVault


class Sender:
    """Outbox, intake and port around one selector; consent is given as the owner would."""

    def __init__(self, folder: Path) -> None:
        system = RealSystem(str(folder))
        key, _ = FileSlot(system).open()
        vault = WorkerVault(key)
        books = Books(Store(str(folder / "var/lib/privet/state.db"), vault, system.clock))
        system.boot = books.next_boot()
        anchor = read_anchor(system)
        self.policy = Rules(books.store, vault, settings(), anchor).load(system)
        seen = notice_digest(self.policy, "climate")
        books.keep_consents(answer(self.policy, "climate", GIVEN, seen, "bench", system.clock().wall))
        mine = Mine(fleet=anchor.identity.fleet, device=anchor.identity.device, boot=system.boot)
        system.make_directory("/var/lib/privet/queue", 0o700)
        self.system = system
        self.outbox = Outbox(system, books, vault, mine, lambda p, b: Queue(system, f"/var/lib/privet/queue/{p}", b))
        self.outbox.adopt(self.policy)
        self.selector = selectors.DefaultSelector()
        LineServer(self.selector, str(folder / "telemetry.sock"), 0o600, self.intake)
        port = Port(self.selector, self.heard, self.changed, 65534)
        port.open(str(folder / "courier.sock"), 65534)

    def intake(self, client: Client, request: dict[str, object]) -> None:
        """Take readings; answer when they are durable."""
        samples = read_samples(request, self.system.clock())
        client.waiting += 1

        def done(failure: PrivetError | None) -> None:
            client.waiting -= 1
            client.reply(refusal(failure) if failure else {"ok": True, "accepted": len(samples)})

        self.outbox.take(samples, done)

    def heard(self, message: list[Any]) -> None:
        """Take what the courier says."""
        if message[0] == "sent":
            self.outbox.sent(message[1])
        elif message[0] == "received" and message[1] == "ack":
            self.outbox.acknowledge(message[2])

    def changed(self, courier: Courier | None) -> None:
        """A courier came or went."""
        if courier is None:
            self.outbox.connected(None)
            return
        place = {"host": self.policy.broker["host"], "port": self.policy.broker["port"]}
        courier.tell(["link", {**place, "fleet": "home", "device": "d1"}])
        self.outbox.connected(lambda number, topic, payload: courier.tell(["publish", number, topic, payload]))

    def serve(self) -> None:
        """Serve until ended."""
        while True:
            for found, mask in self.selector.select(1.0):
                found.data(mask)
            self.outbox.flush()
            self.outbox.pump()


def main(folder: Path) -> None:
    """Begin, say so, serve."""
    (folder / "var/lib/privet").mkdir(parents=True, exist_ok=True)
    sender = Sender(folder)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    sender.serve()


main(Path(sys.argv[1]))
