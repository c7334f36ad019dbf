"""One connection to a broker: paho-mqtt in a cage.

A paho client lives exactly one session; what has to outlive it (what is still unanswered, when to try again) is kept
here. The caller owns the loop: wait on `sockets()` for at most `timeout()` seconds, then call `step()`; any number of
links share one loop, one thread and no global state.

    paho left alone (measured)                            here
    an exception in a callback ends it in silence         callbacks only note events; these are told outside, contained
    a queue of 65,535 messages                            at most 20 messages, what else there is stays with the caller
    a 256 MiB message is buffered whole                   refused at its announcement (`trust.Bounded`)
    a frozen broker is noticed when it likes              a watchdog on acknowledged progress: 2 x keepalive + 5 s
    does not subscribe again                              subscribes at each start, whatever the broker remembers
    equal delays: the whole fleet comes back at once      full jitter from the kernel's randomness
    answers wait 44 ms for Nagle                          TCP_NODELAY
"""

import secrets
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.core.record import Record
from agent.courier import trust

WINDOW = 20  # messages unanswered at a time
CONNECT = 5.0  # seconds for the network connection, and again for the TLS greeting
GREETING = 10.0  # seconds from there to the first subscription
SESSION = 7 * 24 * 3600  # seconds the broker keeps acknowledgements and policies for us
SETTLED = 10.0  # seconds after which a session counts as a success and the next delay starts small again
BURST = 64  # packets read in one step at most
SUBSCRIBED = ("ack", "policy")
NEWER, OLDER = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
UNKNOWN_VERSION = {"Unsupported protocol version", "Connection Refused: unacceptable protocol version."}
STALLED = "the broker answers no more although messages wait; the connection is made anew"
MUTE = "the broker accepted the connection and then said nothing; check that it is a healthy MQTT broker"


class Place(Record):
    """Where a link leads: the broker, and the fleet and device whose topics are used."""

    __slots__ = ("device", "fleet", "host", "port")
    host: str
    port: int
    fleet: str
    device: str


class Pace(Record):
    """How patient a link is: keepalive (whole seconds), delay before a new try (milliseconds: first, most)."""

    __slots__ = ("first", "keepalive", "most")
    keepalive: int
    first: int
    most: int


PACE = Pace(keepalive=60, first=1000, most=60000)


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

    def __init__(self, place: Place, context: ssl.SSLContext, listener: Listener, pace: Pace = PACE) -> None:
        self.place = place
        self.pace = pace
        self.faults = 0  # exceptions contained
        self.strangers = 0  # messages on topics that are not ours
        self.sessions = 0  # successful starts
        self.version = 0  # MQTT version of the last session: 5 or 4 (that is 3.1.1)
        self._context = context
        self._listener = listener
        self._top = f"privet/1/{place.fleet}/{place.device}/"
        self._events: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._waiting: dict[int, tuple[str, bytes]] = {}  # unanswered, oldest first
        self._mids: dict[int, int] = {}  # paho's number of a message in flight: ours
        self._client: Client | None = None
        self._socket: trust.Bounded | None = None
        self._attempts = 0
        self._due = time.monotonic() + self._delay()
        self._older = False  # the next session is to be MQTT 3.1.1
        self._greeted = False  # the broker answered our CONNECT
        self._subscribed = False
        self._cause = ""
        self._since = 0.0  # when the session began
        self._progress = 0.0  # when the broker last acknowledged something, or had nothing to acknowledge
        self._window = WINDOW
        self._largest = trust.LIMIT

    @property
    def connected(self) -> bool:
        """True while the broker takes messages and delivers ours."""
        return self._subscribed

    def publish(self, message: int, suffix: str, payload: bytes) -> bool:
        """Take a message for our topic `suffix`; False when 20 are unanswered already. Lives until `sent` is told."""
        if len(self._waiting) >= WINDOW or message in self._waiting:
            return False
        self._waiting[message] = (suffix, payload)
        self._contained(self._pump)
        return True

    def sockets(self) -> tuple[tuple[int, int], ...]:
        """Return the descriptor to wait on and the `selectors` events to wait for; nothing while offline."""
        if self._client is None or self._socket is None or self._socket.fileno() < 0:
            return ()
        writing = selectors.EVENT_WRITE if self._client.want_write() else 0
        return ((self._socket.fileno(), selectors.EVENT_READ | writing),)

    def timeout(self) -> float:
        """Return the seconds after which `step` is due even when nothing happens on the socket."""
        now = time.monotonic()
        if self._events:
            return 0.0
        if self._client is None:
            return max(0.0, self._due - now)
        return max(0.0, min(self._deadline() - now, self.pace.keepalive / 4))

    def step(self, read: bool = True) -> None:
        """Do what is due: read (unless told not to), write, watch, connect. Blocks only to connect (2 x 5 s at most)."""
        if self._client is None:
            if time.monotonic() >= self._due:
                self._contained(self._connect)
        else:
            self._contained(self._turn, read)
            if self._client is not None and self._socket_gone():
                self._drop(self._cause or trust.CUT)
            elif self._client is not None and time.monotonic() > self._deadline():
                self._drop(STALLED if self._subscribed else MUTE)
        while self._events:
            told, facts = self._events.popleft()
            try:
                told(*facts)
            except Exception:  # noqa: BLE001 - a listener's fault must not stop the link; it is counted
                self.faults += 1

    def close(self) -> None:
        """Say goodbye to the broker and stop for good; unanswered messages are forgotten."""
        if self._client is not None:
            self._contained(self._client.disconnect)
        self._drop("the courier was told to stop; start it again")
        self._waiting.clear()
        self._due = float("inf")

    def _delay(self) -> float:
        """Return a delay drawn anew from the whole range each time (full jitter), the range doubling with each failure."""
        most = min(self.pace.most, self.pace.first << min(self._attempts, 16))
        return secrets.randbelow(most + 1) / 1000

    def _deadline(self) -> float:
        """Return when patience ends: for the greeting, for an acknowledgement, or for any sign of life."""
        if not self._subscribed:
            return self._since + GREETING
        patience = 2 * self.pace.keepalive + 5
        heard = self._since if self._socket is None else max(self._since, self._socket.heard)
        return (min(heard, self._progress) if self._mids else heard) + patience

    def _contained(self, what: Callable[..., object], *facts: object) -> None:
        """Call something of paho's; whatever it raises ends the session with a sentence, never the process."""
        try:
            what(*facts)
        except Exception as error:  # noqa: BLE001 - the cage: paho raises whatever a hostile broker makes it raise
            if not isinstance(error, OSError):
                self.faults += 1
            self._drop(self._cause or trust.cause(error))

    def _socket_gone(self) -> bool:
        return self._client is None or self._client.socket() is None

    def _connect(self) -> None:
        """Start a session; it counts only when the subscriptions are answered."""
        self._cause, self._greeted, self._since = "", False, time.monotonic()
        self._window, self._largest = WINDOW, trust.LIMIT
        version = OLDER if self._older else NEWER
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.place.device,
            protocol=version,
            clean_session=False if self._older else None,
            reconnect_on_failure=False,
        )
        client.suppress_exceptions = True
        client.max_queued_messages_set(WINDOW)
        client.connect_timeout = CONNECT
        client.tls_set_context(self._context)
        client.on_socket_open = self._on_socket_open
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        self._client, self.version = client, int(version)
        keepalive = self.pace.keepalive
        if self._older:
            client.connect(self.place.host, self.place.port, keepalive)
        else:
            client.connect(self.place.host, self.place.port, keepalive, clean_start=False, properties=_wishes())
        self._since = time.monotonic()

    def _turn(self, read: bool) -> None:
        """Read what has come, write what waits, keep the session alive."""
        client, link = self._client, self._socket
        if client is None or link is None:
            return
        for _ in range(BURST if read else 0):
            before = link.taken
            if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or link.taken == before:
                break
        self._pump()
        if client.want_write():
            client.loop_write()
        client.loop_misc()

    def _pump(self) -> None:
        """Hand paho what waits, in order, as far as the window allows."""
        if not self._subscribed or self._client is None or len(self._mids) >= self._window:
            return
        flying = set(self._mids.values())
        for message, (suffix, payload) in list(self._waiting.items()):
            if len(self._mids) >= self._window or self._socket_gone():
                return
            if message in flying:
                continue
            if len(payload) + len(self._top) + len(suffix) + 16 > self._largest:
                del self._waiting[message]
                self._events.append((self._listener.sent, (message, "the message is larger than the broker takes")))
                continue
            if not self._mids:
                self._progress = time.monotonic()
            answer = self._client.publish(self._top + suffix, payload, qos=1)
            self._mids[answer.mid] = message

    def _drop(self, cause: str) -> None:
        """End the session, say why, and set the time of the next try."""
        client, self._client = self._client, None
        if client is None:
            return
        trouble = None if self._socket is None else self._socket.trouble
        if trouble is not None:
            cause = trust.cause(trouble)
        answered, opened = self._greeted, self._socket is not None
        if self._socket is not None:
            self._socket.close()
        self._socket, self._subscribed = None, False
        self._mids.clear()
        now = time.monotonic()
        if answered and now - self._since > SETTLED:
            self._attempts = 0
        # A broker without MQTT 5 says so, or hangs up without a word: 3.1.1 is tried once, at once.
        self._older = opened and not answered and not self._older and not isinstance(trouble, ssl.SSLError)
        self._due = now if self._older else now + self._delay()
        self._attempts += 0 if self._older else 1
        if not self._older:
            self._events.append((self._listener.state, ("offline", cause)))

    # What paho calls. Each only notes; `step` tells.

    def _on_socket_open(self, _client: Client, _user: object, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = opened

    def _on_connect(self, client: Client, _user: object, _flags: object, reason: Any, facts: Properties) -> None:
        if reason.is_failure:
            self._greeted = str(reason) not in UNKNOWN_VERSION
            self._cause = f"the broker refused this device ({str(reason).lower()}); check that the fleet knows it"
            return
        self._greeted = True
        self._window = max(1, min(WINDOW, getattr(facts, "ReceiveMaximum", WINDOW)))
        self._largest = min(trust.LIMIT, getattr(facts, "MaximumPacketSize", trust.LIMIT))
        client.subscribe([(self._top + suffix, 1) for suffix in SUBSCRIBED])

    def _on_subscribe(self, _client: Client, _user: object, _mid: int, reasons: list[Any], _facts: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self._cause = "the broker refused this device its own topics; check the broker's access list"
            if self._socket is not None:
                self._socket.close()
            return
        self._subscribed, self._progress = True, time.monotonic()
        self.sessions += 1
        self._events.append((self._listener.state, ("connected", "")))

    def _on_publish(self, _client: Client, _user: object, mid: int, reason: Any, _facts: object) -> None:
        message = self._mids.pop(mid, None)
        if message is None:
            return
        del self._waiting[message]
        self._progress = time.monotonic()
        why = f"the broker refused the message ({str(reason).lower()}); check its access list"
        self._events.append((self._listener.sent, (message, why if reason.is_failure else "")))

    def _on_message(self, _client: Client, _user: object, message: Any) -> None:
        kind = message.topic.removeprefix(self._top) if message.topic.startswith(self._top) else ""
        if kind not in SUBSCRIBED:
            self.strangers += 1
            return
        self._events.append((self._listener.received, (kind, bytes(message.payload))))

    def _on_disconnect(self, _client: Client, _user: object, flags: Any, reason: Any, _facts: object) -> None:
        if flags.is_disconnect_packet_from_server and not self._cause:
            self._cause = f"the broker ended the connection ({str(reason).lower()}); it is tried again"


def _wishes() -> Properties:
    """Return what we ask of an MQTT 5 broker: nothing larger than we take, no more than we handle, our queue kept."""
    wishes = Properties(PacketTypes.CONNECT)
    wishes.MaximumPacketSize = trust.LIMIT
    wishes.ReceiveMaximum = WINDOW
    wishes.SessionExpiryInterval = SESSION
    return wishes
