"""The applications of all devices: each hands its guard readings, and knows which were accepted.

A reading is accepted when the guard said so. What was asked and never answered (the guard was killed) is in doubt: it
may come, once. What was refused (a full disk) is not asked again under its number. Numbers are never used twice.
"""

import json
import selectors
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.storm.chance import Chance
from tests.storm.marks import Marks

LARGEST = 40  # readings in a request, at most, where no number is given
AGAIN = 0.3  # seconds until a guard that is not there, or refused, is asked again


class App:
    """One device's application."""

    def __init__(self, path: Path, chance: Chance, marks: Marks, each: int) -> None:
        self.path, self.chance, self.marks, self.each = str(path / "telemetry.sock"), chance, marks, each
        self.accepted: set[int] = set()
        self.doubtful: set[int] = set()
        self.refused: set[int] = set()
        self.next = 0
        self.asked: range | None = None
        self.wire: socket.socket | None = None
        self.due = 0.0
        self.answer = b""

    def turn(self, now: float, quota: int, pace: float) -> bool:
        """Connect, or ask for a request's worth; True when there is a new connection to listen to."""
        if self.asked is not None or now < self.due or len(self.accepted) >= quota:
            return False
        self.due = now + AGAIN
        fresh = self.wire is None
        try:
            if self.wire is None:
                self.wire, self.answer = socket.socket(socket.AF_UNIX), b""
                self.wire.connect(self.path)
            count = min(self.each or 1 + self.chance.whole(LARGEST), quota - len(self.accepted))
            asked = range(self.next, self.next + count)
            rows = [{self.marks.name: self.marks.number(number)} for number in asked]
            self.next = asked.stop
            self.asked = asked
            self.wire.sendall(json.dumps({"send": rows}).encode() + b"\n")
            self.due = now + count / pace
        except OSError:
            self.lose()
            return False
        return fresh

    def hear(self) -> None:
        """Take an answer, or the end."""
        piece = b""
        with suppress(OSError):
            piece = b"" if self.wire is None else self.wire.recv(65536)
        if not piece:
            self.lose()
            return
        self.answer += piece
        while b"\n" in self.answer and self.asked is not None:
            line, self.answer = self.answer.split(b"\n", 1)
            fine = json.loads(line).get("accepted") == len(self.asked)
            (self.accepted if fine else self.refused).update(self.asked)
            self.asked = None
            if not fine:
                self.due = time.monotonic() + AGAIN

    def lose(self) -> None:
        """The guard is gone, and what it was asked is in doubt."""
        if self.wire is not None:
            self.wire.close()
        if self.asked is not None:
            self.doubtful.update(self.asked)
        self.wire = self.asked = None


class Apps:
    """All of them, in one loop."""

    def __init__(self, devices: Mapping[str, Path], seed: str, marks: Marks, readings: int, each: int = 0) -> None:
        self.all = {name: App(home, Chance(seed, name), marks, each) for name, home in devices.items()}
        self.quota = -(-readings // len(self.all))
        self.selector = selectors.DefaultSelector()

    def turn(self, seconds: float, pace: float, rest: bool = False) -> None:
        """Wait so long at most for an answer; ask for more, each device `pace` readings a second, unless they rest."""
        for key, _ in self.selector.select(seconds):
            before = key.data.wire
            number = key.fd
            key.data.hear()
            if key.data.wire is None and before is not None:
                self.selector.unregister(number)
        now = time.monotonic()
        for app in self.all.values() if not rest else ():
            held = app.wire
            number = -1 if held is None else held.fileno()
            if app.turn(now, self.quota, pace) and app.wire is not None:
                self.selector.register(app.wire, selectors.EVENT_READ, app)
            elif held is not None and app.wire is None:
                self.selector.unregister(number)

    def count(self, name: str) -> int:
        """Return how many are accepted, doubtful or refused."""
        return sum(len(getattr(app, name)) for app in self.all.values())

    @property
    def done(self) -> bool:
        """True when every device had as many accepted as it was to have."""
        return all(len(app.accepted) >= self.quota and app.asked is None for app in self.all.values())

    def close(self) -> None:
        """Hang up."""
        for app in self.all.values():
            app.lose()
        self.selector.close()
