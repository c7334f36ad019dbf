"""A collector as a process of its own: `keeper.py FOLDER PORT COUNT EACH` says when COUNT readings are committed.

EACH is how many are in a record. The first line says that the broker delivers to it, the second the moment (monotonic
clock) of the last commitment, the third how many readings open;
each record's moment of commitment stands in FOLDER/committed, in the order of the records.
"""

import sys
import time
from pathlib import Path

from provisioning.collector.line import Line, trusted
from provisioning.collector.open import Envelope
from provisioning.collector.receive import Collector
from provisioning.collector.store import PACK, Store
from provisioning.fleet.identity import SERVICE, Fleet


class Noting(Collector):
    """A collector that knows which records it has just taken."""

    fresh: list[int]

    def _add(self, envelope: Envelope, kind: int) -> bool:
        new = super()._add(envelope, kind)
        if new and kind == PACK:
            self.fresh.append(envelope.seq)
        return new


def main(folder: Path, port: int, count: int, each: int) -> None:
    """Receive until there are enough."""
    fleet = Fleet.open(folder / "fleet")
    store = Store(folder / "collector" / "store.db")
    collector = Noting(fleet.name, "collector", fleet.recipient_key("collector"), store, lambda text: None)
    home = folder / "collector"
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", port, context, SERVICE + "collector")
    while not line.connected:
        line.turn(0.05)
    print("there", flush=True)
    committed: dict[int, float] = {}
    while len(committed) * each < count:
        collector.fresh = []
        line.turn(0.2)
        now = time.monotonic()
        committed.update(dict.fromkeys(collector.fresh, now))
    print(max(committed.values()), flush=True)
    (folder / "committed").write_text("".join(f"{committed[seq]}\n" for seq in sorted(committed)))
    print(sum(1 for _ in collector.readings()), flush=True)
    while True:
        line.turn(0.2)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
