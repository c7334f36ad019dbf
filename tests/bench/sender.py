"""The telemetry half of the guard as a process of its own, on real files below a folder: `sender.py FOLDER`."""

import os
import selectors
import signal
import sys
from collections.abc import Sequence
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
from agent.system.vault import DirectVault, Vault, WorkerVault

COURIER = 65534


class Sender:
    """Outbox, intake and port around one selector; consent is given as the owner would.

    `apart`: ciphers live in a child, as on a device that has little memory.
    """

    outbox_kind: type[Outbox] = Outbox

    def __init__(
        self, folder: Path, system: RealSystem, apart: bool = True, purposes: Sequence[str] = ("climate",)
    ) -> None:
        self.system, self.apart = system, apart
        (folder / "var/lib/privet").mkdir(parents=True, exist_ok=True)
        key, _ = FileSlot(system).open()
        self.vault: Vault = WorkerVault(key) if apart else DirectVault(key)
        self.books = books = Books(Store(str(folder / "var/lib/privet/state.db"), self.vault, system.clock))
        system.boot = books.next_boot()
        self.anchor = anchor = read_anchor(system)
        self.policy = Rules(books.store, self.vault, settings(), anchor).load(system)
        for purpose in purposes:
            if not any(known == purpose for known, _ in books.consents):
                seen = notice_digest(self.policy, purpose)
                books.keep_consents(answer(self.policy, purpose, GIVEN, seen, "bench", system.clock().wall))
        self.mine = Mine(fleet=anchor.identity.fleet, device=anchor.identity.device, boot=system.boot)
        system.make_directory("/var/lib/privet/queue", 0o700)
        self.outbox = self.outbox_kind(system, books, self.sealer(), self.mine, self.queue)
        self.outbox.adopt(self.policy)
        self.selector = selectors.DefaultSelector()
        LineServer(self.selector, str(folder / "telemetry.sock"), 0o600, self.intake)
        self.port = Port(self.selector, self.heard, self.changed, COURIER)

    def sealer(self) -> Vault:
        """Return what seals records."""
        return self.vault

    def queue(self, purpose: str, budget: int) -> Queue:
        """Open the queue of a purpose."""
        return Queue(self.system, f"/var/lib/privet/queue/{purpose}", budget)

    def intake(self, client: Client, request: dict[str, object]) -> None:
        """Take readings; answer when they are durable."""
        samples = read_samples(request, self.system.clock())
        client.waiting += 1

        def done(failure: PrivetError | None) -> None:
            client.waiting -= 1
            client.reply(refusal(failure) if failure else {"ok": True, "accepted": len(samples)})

        try:
            self.outbox.take(samples, done)
        except PrivetError:
            client.waiting -= 1
            raise

    def heard(self, message: list[Any]) -> None:
        """Take what the courier says."""
        if message[0] == "sent":
            self.outbox.sent(message[1])
        elif message[0] == "received" and message[1] == "ack":
            self.outbox.acknowledge(message[2])
        elif message[:2] == ["state", "connected"]:
            self.outbox.rewind()

    def changed(self, courier: Courier | None) -> None:
        """A courier came or went."""
        if courier is None:
            self.outbox.connected(None)
            return
        self.greet(courier)
        self.outbox.connected(lambda number, topic, payload: courier.tell(["publish", number, topic, payload]))

    def greet(self, courier: Courier) -> None:
        """Tell a courier where the broker is."""
        place = {"host": self.policy.broker["host"], "port": self.policy.broker["port"]}
        courier.tell(["link", {**place, "fleet": self.mine.fleet, "device": self.mine.device}])

    def turn(self, seconds: float) -> None:
        """Wait so long at most for something to do, and do it."""
        for found, mask in self.selector.select(seconds):
            found.data(mask)
        self.outbox.flush()
        self.outbox.pump()


def main(folder: Path) -> None:
    """Begin, say so, serve."""
    sender = Sender(folder, RealSystem(str(folder)))
    sender.port.open(str(folder / "courier.sock"), COURIER)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    while True:
        sender.turn(1.0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
