"""One session with a broker: the life of one paho-mqtt client, from the connection to its end.

paho's callbacks only note here what happened; `agent.courier.link` reads the notes and tells others, outside of paho.
"""

import socket
import ssl
import time
from collections import deque
from typing import Any, cast

from agent.core.record import Record
from agent.courier import trust
from agent.courier.lean import (
    CallbackAPIVersion,
    Client,
    MQTTErrorCode,
    MQTTProtocolVersion,
    PacketTypes,
    Properties,
)

WINDOW = 20  # messages unanswered at a time, in each direction
CONNECT = 5.0  # seconds for the network connection, and again for the TLS greeting
KEPT = 7 * 24 * 3600  # seconds the broker keeps acknowledgements and policies for us
BURST = 64  # packets read in one turn at most
SUBSCRIBED = ("ack", "policy")
GONE = b"\x80"  # what the broker says on our `state` when we vanish without a goodbye: an empty array
AFTER = 30  # seconds in which we may come back before it says so (MQTT 5)
UNKNOWN_VERSION = {"Unsupported protocol version", "Connection Refused: unacceptable protocol version."}


class Place(Record):
    """Where a link leads: the broker, and the fleet and device whose topics are used."""

    __slots__ = ("device", "fleet", "host", "port")
    host: str
    port: int
    fleet: str
    device: str

    @property
    def top(self) -> str:
        """The beginning of all topics of this device."""
        return f"privet/1/{self.fleet}/{self.device}/"


class Session:
    """`open` it, then `turn` it; it is over when `gone`, for the reason `cause`."""

    def __init__(self, place: Place, context: ssl.SSLContext, keepalive: int, older: bool) -> None:
        self.place = place
        self.older = older  # MQTT 3.1.1 instead of 5
        self.socket: trust.Bounded | None = None
        self.greeted = False  # the broker answered our CONNECT in the language we spoke
        self.subscribed = False  # it delivers what is ours: the session counts
        self.since = time.monotonic()
        self.strangers = 0  # messages on topics that are not ours
        self.window = WINDOW  # what the broker lets us leave unanswered
        self.largest = trust.LIMIT  # bytes of the largest packet it takes
        self.answers: deque[tuple[int, str]] = deque()  # (number of the message, "" or why it was refused)
        self.arrivals: deque[tuple[str, bytes]] = deque()  # (ack or policy, payload)
        self._said = ""
        self._keepalive = keepalive
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=place.device,
            protocol=MQTTProtocolVersion.MQTTv311 if older else MQTTProtocolVersion.MQTTv5,
            clean_session=False if older else None,
            reconnect_on_failure=False,
        )
        self._client.will_set(place.top + "state", GONE, 1, properties=None if older else _later())
        self._client.suppress_exceptions = True
        self._client.max_queued_messages_set(WINDOW)
        self._client.connect_timeout = CONNECT
        self._client.tls_set_context(context)
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = cast("Any", self._on_connect)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    @property
    def gone(self) -> bool:
        """True when there is no connection (any more)."""
        return self._client.socket() is None or self.socket is None or self.socket.fileno() < 0

    @property
    def cause(self) -> str:
        """Why it ended, as far as known: what the network said goes before what the broker said."""
        trouble = None if self.socket is None else self.socket.trouble
        return self._said if trouble is None else trust.cause(trouble)

    @property
    def refused_by_tls(self) -> bool:
        """True when TLS ended it, so that another version of MQTT would not help."""
        return self.socket is None or isinstance(self.socket.trouble, ssl.SSLError)

    @property
    def heard(self) -> float:
        """When the broker last sent anything, seconds of the monotonic clock."""
        return self.since if self.socket is None else max(self.since, self.socket.heard)

    @property
    def writing(self) -> bool:
        """True while something waits for the socket to take it."""
        return self._client.want_write()

    @property
    def waiting(self) -> bool:
        """True when bytes were received and decrypted already that no `select` will announce."""
        return not self.gone and self.socket is not None and self.socket.pending() > 0

    def open(self) -> None:
        """Connect, greet and ask; blocks at most twice CONNECT seconds and raises whatever goes wrong."""
        place = self.place
        if self.older:
            self._client.connect(place.host, place.port, self._keepalive)
        else:
            wishes = _wishes()
            self._client.connect(place.host, place.port, self._keepalive, clean_start=False, properties=wishes)
        self.since = time.monotonic()

    def turn(self, read: bool) -> None:
        """Read what has come, write what waits, keep the session alive; may raise what a hostile broker provokes."""
        for _ in range(BURST if read else 0):
            before = 0 if self.socket is None else self.socket.taken
            failed = self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS
            if failed or self.gone or self.socket is None or self.socket.taken == before:
                break
        if not self.gone and self.writing:
            self._client.loop_write()
        if not self.gone:
            self._client.loop_misc()

    def publish(self, suffix: str, payload: bytes) -> int:
        """Send a message (QoS 1, not retained) on our own topic; return the number its answer will carry."""
        return self._client.publish(self.place.top + suffix, payload, qos=1).mid

    def takes(self, suffix: str, payload: bytes) -> bool:
        """Say whether the broker takes a message of this size."""
        return len(payload) + len(self.place.top) + len(suffix) + 16 <= self.largest

    def close(self) -> None:
        """Say goodbye when that is still possible, and end it."""
        if not self.gone:
            self._client.disconnect()
        self.cut()

    def cut(self) -> None:
        """End it without a word."""
        if self.socket is not None:
            self.socket.close()

    def _on_socket_open(self, _client: Client, _user: object, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = opened

    def _on_connect(self, client: Client, _user: object, _flags: object, reason: Any, facts: Properties) -> None:
        if reason.is_failure:
            self.greeted = str(reason) not in UNKNOWN_VERSION
            self._said = f"the broker refused this device ({str(reason).lower()}); check that the fleet knows it"
            return
        self.greeted = True
        self.window = max(1, min(WINDOW, getattr(facts, "ReceiveMaximum", WINDOW)))
        self.largest = min(trust.LIMIT, getattr(facts, "MaximumPacketSize", trust.LIMIT))
        # Always anew, also when the broker remembers the session: asking twice does no harm, trusting it would.
        client.subscribe([(self.place.top + suffix, 1) for suffix in SUBSCRIBED])

    def _on_subscribe(self, _client: Client, _user: object, _mid: int, reasons: list[Any], _facts: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self._said = "the broker refused this device its own topics; check the broker's access list"
            self.cut()
        else:
            self.subscribed = True

    def _on_publish(self, _client: Client, _user: object, mid: int, reason: Any, _facts: object) -> None:
        why = f"the broker refused the message ({str(reason).lower()}); check its access list"
        self.answers.append((mid, why if reason.is_failure else ""))

    def _on_message(self, _client: Client, _user: object, message: Any) -> None:
        kind = message.topic.removeprefix(self.place.top) if message.topic.startswith(self.place.top) else ""
        if kind in SUBSCRIBED:
            self.arrivals.append((kind, bytes(message.payload)))
        else:
            self.strangers += 1

    def _on_disconnect(self, _client: Client, _user: object, flags: Any, reason: Any, _facts: object) -> None:
        if flags.is_disconnect_packet_from_server and not self._said:
            self._said = f"the broker ended the connection ({str(reason).lower()}); it is tried again"


def _wishes() -> Properties:
    """Return what we ask of an MQTT 5 broker: nothing too large, no more than we keep up with, our queue kept."""
    wishes = cast("Any", Properties)(PacketTypes.CONNECT)
    wishes.MaximumPacketSize = trust.LIMIT
    wishes.ReceiveMaximum = WINDOW
    wishes.SessionExpiryInterval = KEPT
    return cast("Properties", wishes)


def _later() -> Properties:
    """Return how long the broker waits before it says that we are gone."""
    patience = cast("Any", Properties)(PacketTypes.WILLMESSAGE)
    patience.WillDelayInterval = AFTER
    return cast("Properties", patience)
