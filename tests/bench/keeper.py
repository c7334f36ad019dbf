"""A collector as a process of its own: `keeper.py FOLDER PORT COUNT` prints how many readings it has, at COUNT."""

import sys
from pathlib import Path

from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet


def main(folder: Path, port: int, count: int) -> None:
    """Receive until there are enough."""
    fleet = Fleet.open(folder / "fleet")
    store = Store(folder / "collector" / "store.db")
    collector = Collector(fleet.name, "collector", fleet.recipient_key("collector"), store, lambda text: None)
    home = folder / "collector"
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", port, context, SERVICE + "collector")
    while collector.tally.stored < count // 200:  # records of 200 readings each; key records come on top
        line.turn(0.2)
    while (found := sum(1 for _ in collector.readings())) < count:
        line.turn(0.2)
    print(found, flush=True)
    while True:
        line.turn(0.2)


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
