"""The collector as a process: `keeper.py FLEET HOME PORT [ARRIVALS]`. Reads its end from its input.

With ARRIVALS it is known to be bad: what it hands on is what it opened, before it looked whether it had that already.
"""

import json
import selectors
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.core.errors import PrivetError
from provisioning.collector import open as opening
from provisioning.collector.early import Look
from provisioning.collector.line import Line, trusted
from provisioning.collector.open import Place
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet

RECIPIENT = "collector"


class Forgetful(Collector):
    """Known to be bad: never looks what it has."""

    arrived: Callable[[str], object]

    def _take(self, look: Look) -> list[Place]:
        envelope = look.envelope
        with suppress(PrivetError):  # whoever asks next says why
            keys = None if envelope.wrapped is not None else self._epoch(envelope.place, envelope.epoch)
            content = None if keys is None else opening.read_plain(opening.open_record(self.fleet, envelope, keys))
            for datum in content if isinstance(content, tuple) else ():
                self.arrived(json.dumps([envelope.place.device, str(datum.value)]) + "\n")
        return super()._take(look)


def main(folder: Path, home: Path, port: int, arrivals: str = "") -> None:
    """Receive until the input ends."""
    fleet = Fleet.open(folder)
    kind = Forgetful if arrivals else Collector
    key, store = fleet.recipient_key(RECIPIENT), Store(home / "store.db")
    collector = kind(fleet.name, RECIPIENT, key, store, lambda text: print(text, file=sys.stderr, flush=True))
    if isinstance(collector, Forgetful):
        collector.arrived = Path(arrivals).open("a", buffering=1).write  # noqa: SIM115 - until the process ends
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", port, context, SERVICE + RECIPIENT)
    print(json.dumps({"ready": 1}), flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        told = 0.0
        while not selector.select(0):
            line.turn(0.2)
            if time.monotonic() - told > 1:
                told = time.monotonic()
                how = "connected" if line.connected else line.cause
                print(json.dumps({"how": f"{how}, {collector.tally.stored} new in this life"}), flush=True)
    line.close()
    tally = collector.tally
    print(json.dumps({"duplicates": tally.duplicates, "refused": tally.refused, "forked": tally.forked}), flush=True)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
