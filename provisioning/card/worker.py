"""One card in work, in a thread of its own: opened, given its seed, flashed, and what came of it."""

import threading
import time
from collections.abc import Callable
from typing import Any

from agent.core.errors import CardGone, Failed, PrivetError
from provisioning.card.base import Base
from provisioning.card.flash import Job
from provisioning.card.progress import Progress
from provisioning.card.seeds import Seed, Seeds
from provisioning.card.targets.target import BLOCK, Room, Seen, Target

Open = Callable[[], Target]


class Worker:
    """A card from its opening to its verdict. `state` is wait, work, done or failed; read it from any thread."""

    def __init__(
        self, name: str, port: str, opens: Open, base: Base, seeds: Seeds | None, stop: threading.Event, *,
        read_back: bool = True, new: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.port = name, port
        self.state, self.device = "wait", ""
        self.error: PrivetError | None = None
        self.progress = Progress()
        self.took = 0.0
        self._open, self._base, self._seeds = opens, base, seeds
        self._stop, self._read_back, self._new = stop, read_back, new
        self._target: Target | None = None
        self._first: Seen | None = None
        self._given = False
        self._thread = threading.Thread(target=self._run, name=f"card {name}")

    def start(self) -> None:
        """Begin."""
        self.state = "work"
        self._thread.start()

    def running(self) -> bool:
        """Say whether it is still at work."""
        return self._thread.is_alive()

    def join(self, seconds: float | None = None) -> None:
        """Wait until it has ended, or for some time."""
        self._thread.join(seconds)

    def facts(self) -> dict[str, Any]:
        """Tell of it as a record for programs."""
        told = {"target": self.name, "port": self.port, "state": self.state, "device": self.device}
        stages = {name: round(seconds, 2) for name, seconds in self.progress.seconds.items() if name != "wait"}
        verdict = {"error": str(self.error), "code": self.error.exit_code} if self.error else {}
        return {**told, "seconds": round(self.took, 2), "stages": stages, **verdict}

    def there(self) -> bool:
        """Say whether the card that was worked on is still in its reader; it is held until it is not."""
        if self._target is None or self._first is None:
            return False
        try:
            return self._target.seen() == self._first and self._target.read(0, Room(BLOCK).view) == BLOCK
        except OSError:
            return False

    @property
    def held(self) -> bool:
        """Say whether the card is open."""
        return self._target is not None

    def let_go(self) -> None:
        """Close the card."""
        if self._target is not None:
            self._target.close()
            self._target = None

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._target = self._open()
            self._first = self._target.seen()
            self._flash(self._target, self._first.serial if self._first.own else "")
        except PrivetError as error:
            self.error = error
        except OSError as error:
            self.error = CardGone(f"{self.name} cannot be reached ({error.strerror}); put the card back")
        except Exception as error:  # noqa: BLE001 - a card that was not written must never be called done
            self.error = Failed(f"{self.name} could not be written ({type(error).__name__}); write it again")
        finally:
            self.took = time.monotonic() - began
            self.progress.enter("over", 0)
            self.state = "failed" if self.error else "done"

    def _flash(self, target: Target, serial: str) -> None:
        seed = self._seeds.take(serial) if self._seeds else None
        self.device = seed.device if seed else ""
        try:
            Job(
                target, self._base, seed.slot if seed else None, self.progress, read_back=self._read_back,
                new=self._new, before_slot=lambda: self._give(seed, serial), stop=self._stop,
            ).run()  # fmt: skip
        except BaseException:
            if self._seeds and seed and self._given:
                self._seeds.failed(seed, serial)
            elif self._seeds and seed:
                self._seeds.back(seed)
                self.device = ""
            raise
        if self._seeds and seed:
            self._seeds.verified(seed, serial)

    def _give(self, seed: Seed | None, serial: str) -> None:
        if self._seeds and seed:
            self._seeds.give(seed, serial)
            self._given = True
