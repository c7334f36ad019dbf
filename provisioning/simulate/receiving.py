"""The fleet's collector in a thread of its own, as it would run in a process of its own."""

import threading
from collections.abc import Callable
from pathlib import Path

from agent.core.errors import Failed, PrivetError
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector, Reading
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE, Fleet
from provisioning.profile.notices import Notices

LOOK = 0.1  # seconds a turn waits for messages
ENDING = 10.0  # seconds to end in


class Receiving:
    """Receives from `start` to `close`; `take` returns what was opened since. Its store belongs to the thread."""

    def __init__(self, fleet: Fleet, recipient: str, identity: tuple[Path, Path, Path], place: tuple[str, int]) -> None:
        self.said: list[str] = []
        self._key = fleet.recipient_key(recipient)
        self._fleet, self._recipient, self._place = fleet.name, recipient, place
        self._context = trusted(*identity)
        self._anchor = fleet.trust_anchor()
        self._notices = Notices(fleet)
        self._store = identity[0].with_name("store.db")
        self._new: list[Reading] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._connected: Callable[[], bool] = lambda: False
        self._failure: PrivetError | None = None
        self._thread = threading.Thread(target=self._work, name="collector", daemon=True)

    @property
    def connected(self) -> bool:
        """Say whether the broker delivers; raises what ended the collector, if something did."""
        if self._failure is not None:
            raise self._failure
        return self._connected()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def take(self) -> list[Reading]:
        """Return the readings that were opened since the last call."""
        if self._failure is not None:
            raise self._failure
        with self._lock:
            found, self._new = self._new, []
        return found

    def close(self) -> None:
        """End, and wait for the end."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(ENDING)

    def _work(self) -> None:
        try:
            store = Store(self._store)
            told = store, self.said.append, self._anchor
            collector = Collector(self._fleet, self._recipient, self._key, *told, notices=self._notices)
            line = Line(collector, *self._place, self._context, SERVICE + self._recipient)
            self._connected = lambda: line.connected
            after = 0
            while not self._over.is_set():
                if line.turn(LOOK):
                    found = list(collector.readings(after))
                    after = max([after, *(reading.arrival for reading in found)])
                    with self._lock:
                        self._new += found
            line.close()
            store.close()
        except PrivetError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - told by whoever asks next; a thread has nobody to tell
            self._failure = Failed(f"the collector broke ({type(error).__name__}: {error}); please report it")
