"""One link to a broker, for good: paho-mqtt in a cage.

The caller owns the loop: wait on `sockets()` for at most `timeout()` seconds, then call `step()`. Any number of links
share one loop, one thread and no global state. What outlives a session (what is still unanswered, when to try again)
is kept here; a paho client lives one session only.

    paho left alone (measured)                            here
    an exception in a callback ends it in silence         callbacks only take notes; they are told outside, contained
    a queue of 65,535 messages                            at most 20 messages, what else there is stays with the caller
    a 256 MiB message is buffered whole                   refused at its announcement (`trust.Bounded`)
    a frozen broker is noticed when it likes              a watchdog on acknowledged progress: 2 x keepalive + 5 s
    does not subscribe again                              subscribes at each start, whatever the broker remembers
    one address                                           several brokers in their order, each verified by its name
    equal delays: the whole fleet comes back at once      a moment of its own for each link (`again.py`)
    answers wait 44 ms for Nagle                          TCP_NODELAY
"""

import selectors
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.core.errors import PrivetError
from agent.core.record import Record
from agent.courier import trust
from agent.courier.again import Again
from agent.courier.session import WINDOW, Place, Session

GREETING = 10.0  # seconds from the connection to the answered subscription
SETTLED = 10.0  # seconds after which a session counts as a success
STALLED = "the broker answers no more although it should; the connection is made anew"
MUTE = "the broker accepted the connection and then said nothing; check that it is a healthy MQTT broker"
STOPPED = "the courier was told to stop; start it again"
LARGE = "the message is larger than this broker takes; let it take 328 KiB"

Trusted = Callable[[], ssl.SSLContext]  # asked at each new try: a certificate renewed meanwhile is then in use


class Pace(Record):
    """How patient a link is: keepalive and slack (seconds); delays before a new try, see `again` (milliseconds).

    A broker that owes us something and is silent for 2 x keepalive + slack is left.
    """

    __slots__ = ("first", "keepalive", "most", "slack")
    keepalive: int
    slack: int
    first: int
    most: int


PACE = Pace(keepalive=60, slack=5, first=1000, most=20000)


class Listener(Protocol):
    """Who is told; an exception raised here is counted in `Link.faults` and goes no further."""

    def sent(self, message: int, cause: str) -> None:
        """The broker answered a message; `cause` is "" or the sentence with which it refused it."""

    def received(self, kind: str, payload: bytes) -> None:
        """Something came on our own topic: kind is ack or policy."""

    def state(self, word: str, cause: str) -> None:
        """The link is now `connected`, or `offline` with a sentence why."""


class Link:
    """See the module. `publish` any time; everything else happens in `step`."""

    def __init__(
        self, place: Place, trusted: Trusted, listener: Listener, pace: Pace = PACE, others: Sequence[Place] = ()
    ) -> None:
        self._places = deque((place, *others))
        self.pace = pace
        self.faults = 0  # exceptions contained
        self.sessions = 0  # sessions that counted
        self.strangers = 0  # messages on topics that are not ours, in sessions that are over
        self._trusted = trusted
        self._listener = listener
        self._told: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._waiting: dict[int, tuple[str, bytes]] = {}  # unanswered, oldest first
        self._flying: dict[int, int] = {}  # the session's number of a message: ours
        self._session: Session | None = None
        self._connected = False
        self._again = Again(pace.first, pace.most)
        self._due = self._again.begin(time.monotonic())
        self._older = False  # the next session is to speak MQTT 3.1.1
        self._progress = 0.0  # when the broker last acknowledged something, or had nothing to acknowledge

    @property
    def place(self) -> Place:
        """The broker of this moment: the one there is a session with, or that is tried next."""
        return self._places[0]

    @property
    def connected(self) -> bool:
        """True while the broker takes our messages and delivers what is ours."""
        return self._connected

    @property
    def session(self) -> Session | None:
        """The session of this moment, for those who look closer (version spoken, TLS in use)."""
        return self._session

    def publish(self, message: int, suffix: str, payload: bytes) -> bool:
        """Take a message for our topic `suffix`; False when 20 are unanswered already. Kept until `sent` is told."""
        if len(self._waiting) >= WINDOW or message in self._waiting:
            return False
        self._waiting[message] = (suffix, payload)
        self._contained(self._pump)
        return True

    def sockets(self) -> tuple[tuple[int, int], ...]:
        """Return the descriptor to wait on and the `selectors` events to wait for; nothing while offline."""
        session = self._session
        if session is None or session.gone or session.socket is None:
            return ()
        return ((session.socket.fileno(), selectors.EVENT_READ | (selectors.EVENT_WRITE if session.writing else 0)),)

    def timeout(self) -> float:
        """Return the seconds after which `step` is due even when nothing happens on the socket."""
        now = time.monotonic()
        if self._session is None:
            return 0.0 if self._told else max(0.0, self._due - now)
        if self._told or self._session.gone or self._session.waiting:
            return 0.0
        return max(0.0, min(self._deadline(self._session) - now, self.pace.keepalive / 4))

    def lively(self) -> bool:
        """Say whether the broker answered as it owes us, or we are between two tries: what counts as progress."""
        return self._session is None or time.monotonic() <= self._deadline(self._session)

    def step(self, read: bool = True) -> None:
        """Do what is due: read (unless told not to), write, watch, connect. Blocks to connect only, 10 s at most."""
        if self._session is not None:
            self._contained(self._turn, self._session, read)
        elif time.monotonic() >= self._due:
            self._contained(self._connect)
        while self._told:
            tell, facts = self._told.popleft()
            try:
                tell(*facts)
            except Exception:  # noqa: BLE001 - a listener's fault must not stop the link; it is counted
                self.faults += 1

    def close(self) -> None:
        """Say goodbye to the broker and stop for good; unanswered messages are forgotten."""
        if self._session is not None:
            self._contained(self._session.close)
        self._drop(STOPPED)
        self._waiting.clear()
        self._due = float("inf")

    def _connect(self) -> None:
        try:
            context = self._trusted()
        except PrivetError as error:
            self._later(str(error))
            return
        self._session = Session(self.place, context, self.pace.keepalive, self._older)
        self._session.open()

    def _turn(self, session: Session, read: bool) -> None:
        """Let the session work, take over its notes, and judge it."""
        session.turn(read)
        self._note(session)
        if session.gone:
            self._drop(session.cause or trust.CUT)
        elif time.monotonic() > self._deadline(session):
            self._drop(STALLED if self._connected else MUTE)
        else:
            self._pump()

    def _note(self, session: Session) -> None:
        if session.subscribed and not self._connected:
            self._connected, self._progress = True, time.monotonic()
            self.sessions += 1
            self._tell(self._listener.state, "connected", "")
        while session.answers:
            number, refusal = session.answers.popleft()
            message = self._flying.pop(number, None)
            if message is not None:
                del self._waiting[message]
                self._progress = time.monotonic()
                self._tell(self._listener.sent, message, refusal)
        while session.arrivals:
            self._tell(self._listener.received, *session.arrivals.popleft())

    def _pump(self) -> None:
        """Hand over what waits, in order, as far as the broker's window allows."""
        session = self._session
        if session is None or not self._connected or len(self._flying) >= session.window:
            return
        flying = set(self._flying.values())
        for message, (suffix, payload) in list(self._waiting.items()):
            if len(self._flying) >= session.window or session.gone:
                return
            if message in flying:
                continue
            if not session.takes(suffix, payload):
                del self._waiting[message]
                self._tell(self._listener.sent, message, LARGE)
                continue
            if not self._flying:
                self._progress = time.monotonic()
            self._flying[session.publish(suffix, payload)] = message

    def _drop(self, cause: str) -> None:
        """End the session, say why, and set the time of the next try."""
        session, self._session = self._session, None
        if session is None:
            return
        session.cut()
        self.strangers += session.strangers
        self._connected = False
        self._flying.clear()
        settled = session.subscribed and time.monotonic() - session.since > SETTLED
        # A broker without MQTT 5 says so, or hangs up without a word: 3.1.1 is then tried once, at once.
        self._older = not (session.older or session.greeted or session.refused_by_tls or cause in {MUTE, STOPPED})
        if self._older:
            self._due = time.monotonic()
        else:
            self._later(cause, settled)

    def _later(self, cause: str, settled: bool = False) -> None:
        self._places.rotate(-1)  # the next one, if there are several
        due = self._again.lost if settled else self._again.failed
        self._due = due(time.monotonic(), len(self._places))
        self._tell(self._listener.state, "offline", cause)

    def _deadline(self, session: Session) -> float:
        """Return when patience ends: for the greeting, for an acknowledgement, or for any sign of life."""
        if not self._connected:
            return session.since + GREETING
        patience = 2 * self.pace.keepalive + self.pace.slack
        return (min(session.heard, self._progress) if self._flying else session.heard) + patience

    def _contained(self, what: Callable[..., object], *facts: object) -> None:
        """Call into paho; whatever it raises ends the session with a sentence, never the process."""
        try:
            what(*facts)
        except Exception as error:  # noqa: BLE001 - the cage: paho raises what a hostile broker makes it raise
            if not isinstance(error, OSError | PrivetError):
                self.faults += 1
            known = "" if self._session is None else self._session.cause
            self._drop(known or trust.cause(error))

    def _tell(self, what: Callable[..., None], *facts: object) -> None:
        self._told.append((what, facts))
