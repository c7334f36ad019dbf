"""The collector's connection to the broker: takes in, hands to `Collector.receive`, publishes what that answers.

A message is told to the broker as taken (PUBACK) only after it is on the disk; a collector that dies finds it again.
"""

import contextlib
import secrets
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.core.errors import BadInput, Failed, Missing, PrivetError, Refused, Unreachable
from provisioning.collector.receive import Collector, Reading

BATCH = 500  # messages stored by one transaction at most
MOST_PACKET = 336 * 1024  # bytes
CONNECT = 5.0  # seconds
KEEPALIVE = 30  # seconds; a broker silent for 2 x that + 5 is given up
KEPT = 90 * 24 * 3600  # seconds the broker keeps messages for a collector that is away
GOODBYE = 5.0  # seconds that the broker has to take what was answered, before the connection is closed
SLOWEST = 15000  # milliseconds between two tries
UNKNOWN_VERSION = {"Unsupported protocol version", "Connection Refused: unacceptable protocol version."}
NO_SHARES = "this broker cannot share its messages among several collectors; run a single one, without --worker"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def trusted(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a collector's TLS context: this fleet's authority alone, our certificate, names checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cafile=str(ca))
        context.load_cert_chain(str(certificate), str(key))
    except FileNotFoundError:
        raise Missing(f"{ca}, {certificate} or {key} is not there; make the collector's identity first") from None
    except ssl.SSLError:
        raise BadInput(f"{ca}, {certificate} or {key} is damaged; make the collector's identity anew") from None
    return context


class Line:
    """One collector on one broker. Call `turn` again and again, or iterate over `follow`.

    Lines of one `group` share what comes: each message goes to one of them. A worker's session ends with its
    connection, so that its share goes to the others; what it had not acknowledged to the device, that sends again.
    """

    def __init__(
        self, collector: Collector, host: str, port: int, context: ssl.SSLContext, name: str, group: str = "",
        others: Sequence[tuple[str, int]] = (),
    ) -> None:  # fmt: skip
        self.collector = collector
        self._places = deque([(host, port), *others])  # tried in this order when the connection ends
        self.sessions = 0
        self.cause = "not yet connected"
        # Brokers that let clients choose their name refuse dots in it; an underscore, no device's name can have.
        self.group = group
        self._hopeless = ""  # why trying again is of no use
        self._shareless = False  # a broker has said that it cannot share
        self._context, self._name = context, name.replace(".", "_")
        self._older = False  # the next session is to speak MQTT 3.1.1
        self._opened = self._greeted = False  # there is a connection; the broker answered in the language we spoke
        self._client: Client | None = None
        self._inbox: list[MQTTMessage] = []
        self._answers: list[MQTTMessageInfo] = []  # published, and not taken by the broker yet
        self._due, self._attempts = 0.0, 0
        self._heard = 0.0
        self._subscribed = False

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the broker of this moment."""
        return self._places[0]

    @property
    def connected(self) -> bool:
        """True while the broker delivers."""
        return self._subscribed

    def follow(self, after: int = 0, until: Callable[[], bool] = lambda: False) -> Iterator[Reading]:
        """Yield readings as they come, those already stored first, until `until` says so (asked once a second)."""
        while True:
            with contextlib.suppress(Unreachable):  # the store is tried again, as the broker is
                for reading in self.collector.readings(after):
                    after = reading.arrival
                    yield reading
            if until():
                return
            self.turn(1.0)

    def turn(self, seconds: float) -> int:
        """Wait so long at most for messages, store, acknowledge; return how many. Failed when the disk refuses.

        Refused when the broker cannot do what this collector needs.
        """
        client = self._client
        if client is None:
            pause = self._due - time.monotonic()
            if pause > 0:
                time.sleep(min(pause, seconds))
            else:
                self._contained(self._connect)
            return 0
        self._contained(self._listen, client, seconds)
        if self._hopeless:
            raise Refused(self._hopeless)
        messages, self._inbox = self._inbox, []
        if messages or self.collector.waits:
            self._store(client, messages)
        return len(messages)

    def close(self) -> None:
        """Say goodbye once the broker has taken every answer; it keeps what comes meanwhile.

        A connection closed while something of the broker's is unread is reset, and what was sent last is lost with it:
        a device whose acknowledgement went so sends again to nobody, for ever.
        """
        ends = time.monotonic() + GOODBYE
        while self._client is not None and self._owed() and time.monotonic() < ends:
            self._contained(self._listen, self._client, 0.1)
            self._inbox.clear()  # not taken from the broker: it comes again
        if self._client is not None:
            self._contained(self._client.disconnect)
        self._drop("closed")

    def send(self, device: str, leaf: str, payload: bytes) -> None:
        """Publish on a device's topic (a policy, say); Unreachable while there is no connection."""
        if self._client is None or not self._subscribed:
            raise Unreachable(f"the broker is not reached ({self.cause}); try again when it is")
        self._client.publish(f"privet/1/{self.collector.fleet}/{device}/{leaf}", payload, qos=1)

    def _store(self, client: Client, messages: list[MQTTMessage]) -> None:
        try:
            answers = self.collector.receive([(_topic(m), bytes(m.payload)) for m in messages])
        except Unreachable as error:
            self._drop(str(error))  # unacknowledged, they come again
            return
        except Failed:
            self._drop("the store does not take records")
            raise
        for message in messages:
            self._contained(client.ack, message.mid, message.qos)
        self._answers = self._owed()
        for topic, payload in answers:
            self._contained(self._answer, client, topic, payload)

    def _answer(self, client: Client, topic: str, payload: bytes) -> None:
        self._answers.append(client.publish(topic, payload, 1))

    def _owed(self) -> list[MQTTMessageInfo]:
        return [one for one in self._answers if one.rc == MQTTErrorCode.MQTT_ERR_SUCCESS and not one.is_published()]

    def _connect(self) -> None:
        self._subscribed = self._greeted = self._opened = False
        self._heard = time.monotonic()
        client = self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._name,
            protocol=MQTTProtocolVersion.MQTTv311 if self._older else MQTTProtocolVersion.MQTTv5,
            clean_session=False if self._older else None,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.suppress_exceptions = True
        client.connect_timeout = CONNECT
        client.tls_set_context(self._context)
        client.on_socket_open = self._on_socket_open
        client.on_connect = cast("Any", self._on_connect)
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        if self._older:
            client.connect(*self.place, KEEPALIVE)
            return
        wishes = cast("Any", Properties)(PacketTypes.CONNECT)
        wishes.MaximumPacketSize, wishes.ReceiveMaximum = MOST_PACKET, BATCH
        wishes.SessionExpiryInterval = 0 if self.group else KEPT
        client.connect(*self.place, KEEPALIVE, clean_start=bool(self.group), properties=wishes)

    def _listen(self, client: Client, seconds: float) -> None:
        """Read all that is there, up to a batch; wait for the first of it."""
        link = cast("ssl.SSLSocket | None", client.socket())
        if link is None or link.fileno() < 0:
            self._drop("the broker ended the connection")
            return
        with selectors.DefaultSelector() as selector:
            writing = selectors.EVENT_WRITE if client.want_write() else 0
            selector.register(link, selectors.EVENT_READ | writing)
            selector.select(0 if link.pending() else seconds)
            while len(self._inbox) < BATCH:
                if not link.pending() and not any(e & selectors.EVENT_READ for _, e in selector.select(0)):
                    break
                self._heard = time.monotonic()
                if client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or client.socket() is None:
                    self._drop("the broker ended the connection")
                    return
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        if time.monotonic() - self._heard > 2 * KEEPALIVE + 5:
            self._drop("the broker answers no more")

    def _contained(self, what: Callable[..., object], *facts: object) -> None:
        try:
            what(*facts)
        except Exception as error:  # noqa: BLE001 - paho raises what a hostile broker makes it raise
            self._drop(f"{error}" if isinstance(error, OSError | PrivetError) else type(error).__name__)

    def _drop(self, cause: str) -> None:
        client, self._client = self._client, None
        self._answers = []
        if client is None:
            return
        if (link := client.socket()) is not None:
            with contextlib.suppress(OSError):
                link.close()
        if self._opened and not self._greeted:
            self._older = not self._older  # a broker without MQTT 5 says so, or hangs up without a word
        if not (self._opened and not self._greeted and self._older):
            self._places.rotate(-1)
        self._attempts = 0 if self._subscribed else self._attempts + 1
        self._subscribed, self.cause = False, cause
        most = min(SLOWEST, 500 << min(self._attempts // len(self._places), 6))
        self._due = time.monotonic() + secrets.randbelow(most) / 1000

    def _on_socket_open(self, _client: Client, _user: object, opened: Any) -> None:
        self._opened = True
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, client: Client, _user: object, _flags: object, reason: Any, facts: object) -> None:
        self._greeted = str(reason) not in UNKNOWN_VERSION
        if reason.is_failure:
            self._drop(f"the broker refused this collector ({str(reason).lower()})")
        elif self.group and (self._older or not getattr(facts, "SharedSubscriptionAvailable", 1)):
            if self._shareless:
                self._hopeless = NO_SHARES
            self._shareless, self._older = True, False  # it may have hung up on MQTT 5 for another reason: once more
            self._drop(NO_SHARES)
        else:
            shared = f"$share/{self.group}/" if self.group else ""
            client.subscribe(f"{shared}privet/1/{self.collector.fleet}/+/up/+", qos=1)

    def _on_subscribe(self, _client: Client, _user: object, _mid: int, reasons: list[Any], _facts: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self._drop("the broker refused this collector its topics")
        else:
            self._subscribed = True
            self.sessions += 1

    def _on_message(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        self._inbox.append(message)


def _topic(message: MQTTMessage) -> str:
    try:
        return message.topic
    except UnicodeDecodeError:
        return ""  # no topic of ours: the collector puts it aside with a sentence
