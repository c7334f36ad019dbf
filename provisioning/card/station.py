"""A station: every reader of it by itself, from the card that is put in to the card that is taken out, for ever.

A card is held until it is out: no desktop mounts it meanwhile and writes on it. What counts as another card is what the
kernel counts as another medium.
"""

import threading
from collections.abc import Callable
from typing import Any

from agent.core.errors import PrivetError
from provisioning.card.base import Base
from provisioning.card.seeds import Seeds
from provisioning.card.targets.found import Disk
from provisioning.card.targets.opening import opened
from provisioning.card.targets.rules import Wanted, listed
from provisioning.card.worker import Worker

Tell = Callable[[dict[str, Any]], None]
OFTEN = 0.25  # seconds between two looks at the readers


class Place:
    """One slot of one reader, with the card in it, if any."""

    def __init__(self, port: str) -> None:
        self.port = port
        self.worker: Worker | None = None
        self.medium: tuple[str, int, int] | None = None
        self.told = False


class Station:
    """Readers at the ports of `wanted`, cards of one image. `tell` gets a record of everything that happens."""

    def __init__(
        self, base: Base, seeds: Seeds | None, wanted: Wanted, look: Callable[[], tuple[Disk, ...]], tell: Tell,
        *, new: bool = False,
    ) -> None:  # fmt: skip
        self.places: dict[str, Place] = {}
        self.done = self.failed = 0
        self.stop = threading.Event()
        self._base, self._seeds, self._wanted, self._look, self._tell = base, seeds, wanted, look, tell
        self._new = new

    def run(self, show: Callable[[], None], most: int | None = None) -> None:
        """Work until `stop` is set, or until so many cards are done; cards in work are then finished or stopped."""
        try:
            while not self.stop.is_set() and (most is None or self.done < most or self._busy()):
                self.turn(begin=most is None or self.done + self._busy() < most)
                show()
                self.stop.wait(OFTEN)
        finally:
            for place in self.places.values():
                if place.worker is not None:
                    place.worker.join()
                    self._verdict(place, place.worker)
                    place.worker.let_go()

    def turn(self, *, begin: bool = True) -> None:
        """Look at every reader once."""
        there = {disk.port: disk for disk in self._look() if listed(disk.port, self._wanted.ports)}
        for port in sorted({*there, *self.places}):
            place = self.places.setdefault(port, Place(port))
            disk = there.get(port)
            if place.worker is not None and not place.worker.running():
                self._verdict(place, place.worker)
                self._removed(place, place.worker, disk)
            elif place.worker is None and disk is not None and disk.size and begin:
                self._inserted(place, disk)

    def _busy(self) -> int:
        return sum(1 for place in self.places.values() if place.worker is not None and place.worker.running())

    def _inserted(self, place: Place, disk: Disk) -> None:
        place.medium, place.told = (disk.name, disk.sequence, disk.size), False
        place.worker = Worker(
            disk.name, place.port, lambda: opened(disk, self._wanted, named=True), self._base, self._seeds, self.stop,
            new=self._new,
        )  # fmt: skip
        self._tell({"event": "inserted", "target": disk.name, "port": place.port, "size": disk.size})
        place.worker.start()

    def _verdict(self, place: Place, worker: Worker) -> None:
        if place.told:
            return
        place.told = True
        self.done += worker.error is None
        self.failed += worker.error is not None
        self._tell({"event": "done" if worker.error is None else "failed", **worker.facts()})

    def _removed(self, place: Place, worker: Worker, disk: Disk | None) -> None:
        """Notice that the card is out, or another one is in."""
        if disk is not None and (disk.name, disk.sequence, disk.size) == place.medium and worker_stays(worker):
            return
        worker.let_go()
        place.worker = place.medium = None
        self._tell({"event": "removed", "target": worker.name, "port": place.port})


def worker_stays(worker: Worker) -> bool:
    """Say whether a card is still in; one that was refused was never opened, and stays as the kernel says."""
    return worker.there() or (worker.error is not None and not worker.held)


def first_error(workers: list[Worker]) -> PrivetError | None:
    """Return the error of the first card that failed."""
    return next((worker.error for worker in workers if worker.error is not None), None)
