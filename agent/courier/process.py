"""The courier's loop: sealed bytes from the guard to the broker, acknowledgements and policies back. Nothing else."""

import contextlib
import encodings.idna  # noqa: F401 - the first host name needs it, and then the disk is out of reach
import secrets
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import Any

from agent.core.errors import BadInput, PrivetError, Unreachable
from agent.courier import est, wire
from agent.courier.link import PACE, Link, Pace
from agent.courier.pairs import Pairs
from agent.courier.session import Place
from agent.system.notify import Pulse, patience

CHUNK = 64 * 1024  # bytes read from the guard at once
BACKLOG = 1 << 20  # bytes the guard has not taken yet, from which on the broker is not read
FIRST_FRAME = 10.0  # seconds the guard has to say where the broker is
AGAIN = 250  # milliseconds: the first wait at most before the guard is tried again; doubled five times


class Courier:
    """One guard, one link. `home` holds ca.pem, cert.pem and key.pem, and in `next` the pair that is to follow."""

    def __init__(self, guard: Path, home: Path, pace: Pace = PACE) -> None:
        self.guard = guard
        self.home = home
        self.pace = pace
        self.pairs = Pairs(home)
        self.link: Link | None = None
        self._said = "waiting for the guard"
        self._pulse = Pulse()
        self._rest = patience(60.0)  # seconds at most in which nothing is said to systemd
        self._attempts = 0
        self._out = bytearray()
        self._socket: socket.socket | None = None

    def run(self) -> None:
        """Serve for ever; a guard that goes away is waited for."""
        self._pulse.ready(self._said)
        while True:
            try:
                self.serve()
            except PrivetError as error:
                self._say(str(error))
            self._pulse.beat(self._said)
            time.sleep(secrets.randbelow(AGAIN << min(self._attempts, 5)) / 1000)
            self._attempts += 1

    def serve(self) -> None:
        """Serve one connection to the guard until it ends, always with an error that says why."""
        try:
            with socket.socket(socket.AF_UNIX) as guard:
                self._socket, self._out = guard, bytearray(wire.frame("hello", wire.VERSION))
                guard.connect(str(self.guard))
                guard.setblocking(False)
                self._exchange(guard)
        except OSError as error:
            raise Unreachable(f"the guard cannot be reached at {self.guard} ({error.strerror}); start it") from None
        finally:
            self._socket = None
            if self.link is not None:
                self.link.close()
                self.link = None

    def _exchange(self, guard: socket.socket) -> None:
        frames, begun = wire.Frames(wire.GUARD_FRAMES), time.monotonic()
        while True:
            ready = self._wait(guard)
            if ready & selectors.EVENT_READ:
                received = guard.recv(CHUNK)
                if not received:
                    raise Unreachable("the guard closed the connection; it is tried again")
                for fields in frames.feed(received):
                    self._obey(fields)
            if self.link is not None:
                self.link.step(read=len(self._out) < BACKLOG)
            elif time.monotonic() - begun > FIRST_FRAME:
                raise Unreachable("the guard does not say where the broker is; restart it")
            self._flush(guard)
            if self.link is None or self.link.lively():
                self._pulse.beat(self._said)

    def _wait(self, guard: socket.socket) -> int:
        """Wait for the guard, the broker or the time; return what the guard is ready for."""
        with selectors.DefaultSelector() as selector:
            mine = selector.register(guard, selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0))
            wait = FIRST_FRAME
            if self.link is not None:
                wait = min(self.link.timeout(), self._rest)
                for descriptor, events in self.link.sockets():
                    if len(self._out) < BACKLOG or events & selectors.EVENT_WRITE:
                        selector.register(descriptor, events)
            return next((events for key, events in selector.select(wait) if key is mine), 0)

    def _obey(self, fields: list[Any]) -> None:
        if fields[0] == "link":
            if self.link is not None:
                self.link.close()
            self._attempts = 0
            self.pairs.tries = 0
            first, *others = places(fields[1])
            self.link = Link(first, self.pairs.trusted, self, self.pace, others)
        elif fields[0] == "time":
            self.pairs.clock(fields[1])
        elif fields[0] == "enrol":  # the link rests meanwhile: this is seldom, and soon over
            self._say("asking the enrolment server")
            self._out += wire.frame("enrolled", est.answered(fields[1], self.home))
        elif self.link is None:
            raise BadInput("the guard sends before it says where; both sides must be of the same version")
        elif not self.link.publish(fields[1], wire.topic_suffix(fields[2]), fields[3]):
            raise BadInput("the guard sends more than 20 messages at a time; both sides must be of the same version")

    def _flush(self, guard: socket.socket) -> None:
        if self._out:
            with contextlib.suppress(BlockingIOError):
                del self._out[: guard.send(self._out)]

    # What the link tells.

    def sent(self, message: int, cause: str) -> None:
        """Hand over that the broker has a message; a refusal is said aloud."""
        self._out += wire.frame("sent", message)
        if cause:
            self._say(cause)

    def received(self, kind: str, payload: bytes) -> None:
        """Hand over an acknowledgement or a policy, unread; one too long for a frame is left, with a word."""
        try:
            self._out += wire.frame("received", kind, payload)
        except BadInput as error:
            self._say(str(error))

    def state(self, word: str, cause: str) -> None:
        """Hand over how the link is."""
        self._out += wire.frame("state", word, cause)
        if word == "connected":
            self._out += wire.frame("proven", self.pairs.proven())
        self._say(f"{word}: {cause}" if cause else word)

    def _say(self, sentence: str) -> None:
        """Write a line for the system's journal, once for each change."""
        if sentence != self._said:
            self._said = sentence
            print(f"courier: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the journal reads standard error


def places(fields: dict[Any, Any]) -> list[Place]:
    """Read where the brokers are from a link frame, in their order; BadInput when a part is missing or odd."""
    if set(fields) | {"others"} != {"host", "port", "fleet", "device", "others"}:
        raise BadInput("a link frame names host, port, fleet and device; both sides must be of the same version")
    fleet, device, others = fields["fleet"], fields["device"], fields.get("others", [])
    if type(others) is not list or len(others) % 2:
        raise BadInput("a link frame names a host and a port for each broker; both sides must be of the same version")
    found = [(fields["host"], fields["port"]), *zip(others[::2], others[1::2], strict=True)]
    names = [fleet, device, *(host for host, _ in found)]
    fine = all(type(name) is str and 0 < len(name) <= 253 and name.isprintable() for name in names)
    if (
        not fine
        or any(type(p) is not int or not 0 < p < 1 << 16 for _, p in found)
        or set(fleet + device) & set("+#/\0")
    ):
        raise BadInput("a link frame holds a name or port that cannot be used; compile the policy anew")
    return [Place(host=host, port=port, fleet=fleet, device=device) for host, port in found]
