"""A courier inside this process: the agent's own link at one end, the guard's socket at the other.

The separate process of a real device (agent.courier.process) blocks on its one guard; here many share one loop.
"""

import contextlib
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.core.errors import BadInput
from agent.courier import est, wire
from agent.courier.link import Link, Pace
from agent.courier.pairs import Pairs
from agent.courier.process import places

CHUNK = 64 * 1024
PACE = Pace(keepalive=30, slack=5, first=200, most=2000)  # a broker on loopback is soon back


class Messenger:
    """Carries frames between a guard and its broker; `guard` is the socket to attach, `home` holds the PEM files.

    `laid` sees to it that they are there as the guard has them now, before they are used.
    """

    def __init__(self, home: Path, pace: Pace = PACE, laid: Callable[[], None] = lambda: None) -> None:
        self.home = home
        self.laid = laid
        self.pace = pace
        self.pairs = Pairs(home)
        self.link: Link | None = None
        self.state_word = "offline"
        self.cause = ""
        self.delivered = 0  # messages the broker has answered
        self.guard, self._mine = socket.socketpair()
        self._mine.setblocking(False)
        self._frames = wire.Frames(wire.GUARD_FRAMES)
        self._out = bytearray(wire.frame("hello", wire.VERSION))

    def watched(self) -> dict[int, int]:
        """Return the descriptors to wait on, with the `selectors` events to wait for."""
        found = {self._mine.fileno(): selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)}
        if self.link is not None:
            found.update(dict(self.link.sockets()))
        return found

    def timeout(self) -> float:
        """Return the seconds after which `turn` is due by itself."""
        return 1.0 if self.link is None else self.link.timeout()

    def turn(self) -> None:
        """Carry what waits in both directions."""
        with contextlib.suppress(BlockingIOError):
            received = self._mine.recv(CHUNK)
            if not received:
                self.close()
                return
            for fields in self._frames.feed(received):
                self._obey(fields)
        if self.link is not None:
            self.link.step()
        self._flush()

    def close(self) -> None:
        """End the link and the connection to the guard."""
        if self.link is not None:
            self.link.close()
            self.link = None
        self._mine.close()

    def _flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._out:
                del self._out[: self._mine.send(self._out)]

    def _obey(self, fields: list[Any]) -> None:
        if fields[0] in ("link", "enrol"):
            self.laid()
        if fields[0] == "link":
            if self.link is not None:
                self.link.close()
            self.pairs.tries = 0
            first, *others = places(fields[1])
            self.link = Link(first, self.pairs.trusted, self, self.pace, others)
        elif fields[0] == "time":
            self.pairs.clock(fields[1])
        elif fields[0] == "enrol":
            self._out += wire.frame("enrolled", est.answered(fields[1], self.home))
        elif self.link is None or not self.link.publish(fields[1], wire.topic_suffix(fields[2]), fields[3]):
            raise BadInput("the guard sends before it says where, or too much at a time; both must be of one version")

    # What the link tells.

    def sent(self, message: int, cause: str) -> None:
        """Hand over that the broker has a message."""
        self.delivered += not cause
        self._out += wire.frame("sent", message)

    def received(self, kind: str, payload: bytes) -> None:
        """Hand over an acknowledgement or a policy, unread."""
        self._out += wire.frame("received", kind, payload)

    def state(self, word: str, cause: str) -> None:
        """Hand over how the link is."""
        self.state_word, self.cause = word, cause
        self._out += wire.frame("state", word, cause)
        if word == "connected":
            self._out += wire.frame("proven", self.pairs.proven())
