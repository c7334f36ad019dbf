"""The telemetry half of the guard as a process of its own, on real files below a folder: `sender.py FOLDER`."""

import os
import selectors
import signal
import sys
from pathlib import Path

from agent.core.consent import GIVEN, answer, notice_digest
from agent.guard.books import Books
from agent.guard.house import read_samples
from agent.guard.lane import Mine
from agent.guard.line import Client, LineServer, refusal
from agent.guard.outbox import Outbox
from agent.guard.port import Courier, Port
from agent.guard.rules import Rules, read_anchor
from agent.registry import settings
from agent.system.keys import FileSlot
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.store import Store
from agent.system.vault import WorkerVault


def main(folder: Path) -> None:
    """Serve until ended."""
    system = RealSystem(str(folder))
    key, _ = FileSlot(system).open()
    vault = WorkerVault(key)
    (folder / "var/lib/privet").mkdir(parents=True, exist_ok=True)
    books = Books(Store(str(folder / "var/lib/privet/state.db"), vault, system.clock))
    system.boot = books.next_boot()
    anchor = read_anchor(system)
    rules = Rules(books.store, vault, settings(), anchor)
    policy = rules.load(system)
    seen = notice_digest(policy, "climate")
    books.keep_consent(answer(policy, "climate", GIVEN, seen, "bench", system.clock().wall))
    mine = Mine(fleet=anchor.identity.fleet, device=anchor.identity.device, boot=system.boot)
    system.make_directory("/var/lib/privet/queue", 0o700)
    outbox = Outbox(system, books, vault, mine, lambda p, b: Queue(system, f"/var/lib/privet/queue/{p}", b))
    outbox.adopt(policy)
    selector = selectors.DefaultSelector()

    def intake(client: Client, request: dict[str, object]) -> None:
        samples = read_samples(request, system.clock())
        client.waiting += 1

        def done(failure: object) -> None:
            client.waiting -= 1
            client.reply(refusal(failure) if failure else {"ok": True, "accepted": len(samples)})  # type: ignore[arg-type]

        outbox.take(samples, done)

    def heard(message: list[object]) -> None:
        if message[0] == "sent":
            outbox.sent(int(str(message[1])))
        elif message[0] == "received" and message[1] == "ack":
            outbox.acknowledge(bytes(message[2]))  # type: ignore[call-overload]

    def changed(courier: Courier | None) -> None:
        if courier is None:
            outbox.connected(None)
            return
        courier.tell(
            ["link", {"host": policy.broker["host"], "port": policy.broker["port"], "fleet": "home", "device": "d1"}]
        )
        outbox.connected(lambda number, topic, payload: courier.tell(["publish", number, topic, payload]))

    LineServer(selector, str(folder / "telemetry.sock"), 0o600, intake)
    port = Port(selector, heard, changed, 65534)
    port.open(str(folder / "courier.sock"), 65534)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    print("ready", flush=True)
    while True:
        for found, mask in selector.select(1.0):
            found.data(mask)
        outbox.flush()
        outbox.pump()


main(Path(sys.argv[1]))
