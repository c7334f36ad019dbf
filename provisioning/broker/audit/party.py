"""A bare MQTT client for what our own link would never try; it notes everything and decides nothing."""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any, Self, cast

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from provisioning.broker.audit.seat import Identity, Seat

PATIENCE = 4.0  # seconds for an answer
SETTLE = 0.3  # seconds in which what a broker passes on has arrived: all of it goes over one machine
KEPT = 300  # seconds a session that is tried may live


class Party:
    """One connection. `up` says that the broker took it, `refusal` why not; `heard` are (topic, payload, retained)."""

    def __init__(
        self, seat: Seat, who: Identity, name: str | None = None, *, clean: bool = True, user: str = ""
    ) -> None:
        self.seat, self.who = seat, who
        self.up = False
        self.refusal = ""
        self.present = False
        self.facts: Any = None
        self.heard: list[tuple[str, bytes, bool]] = []
        self.answers: dict[int, str] = {}  # publications: "" or why it was refused
        self.granted: dict[int, bool] = {}
        self._clean = clean
        version = MQTTProtocolVersion.MQTTv5 if seat.five else MQTTProtocolVersion.MQTTv311
        called = (who.name if name is None else name).replace(".", "_")  # as a collector calls itself
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=called, protocol=version,
            clean_session=None if seat.five else clean, reconnect_on_failure=False,
        )  # fmt: skip
        self.client.suppress_exceptions = True
        self.client.connect_timeout = PATIENCE
        self.client.tls_set_context(seat.context(who))
        if user:
            self.client.username_pw_set(user, "")
        self.client.on_socket_open = self._opened
        self.client.on_connect = cast("Any", self._connected)
        self.client.on_publish = self._published
        self.client.on_subscribe = self._subscribed
        self.client.on_message = self._took
        self.client.on_disconnect = self._ended

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def open(self) -> None:
        """Connect and wait for the answer; OSError when nobody is there or TLS fails."""
        if self.seat.five:
            wishes = cast("Any", Properties)(PacketTypes.CONNECT)
            wishes.SessionExpiryInterval = 0 if self._clean else KEPT
            self.client.connect(
                self.seat.target.host, self.seat.target.port, 60, clean_start=self._clean, properties=wishes
            )
        else:
            self.client.connect(self.seat.target.host, self.seat.target.port, 60)
        self.turn(lambda: self.up or bool(self.refusal))

    def turn(self, until: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Work until something holds or the connection or the time is over; say whether it holds."""
        ends = time.monotonic() + seconds
        while not until() and time.monotonic() < ends:
            if self.client.loop(0.02) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.up = False
                self.refusal = self.refusal or "the connection was closed"
                break
        return until()

    def settle(self) -> None:
        """Let what is on its way arrive."""
        self.turn(lambda: False, SETTLE)

    def alive(self) -> bool:
        """Ask the broker for an answer; False when the connection is over."""
        if not self.up:
            return False
        mid = self.client.subscribe(self.seat.topic(self.who.name, "ack"), 1)[1]
        return self.turn(lambda: mid in self.granted)

    def hears(self, topic: str) -> bool:
        """Ask for a topic; say whether the broker says yes."""
        try:
            mid = self.client.subscribe(topic, 1)[1]
        except ValueError:
            return False
        return mid is not None and self.turn(lambda: mid in self.granted) and self.granted[mid]

    def says(self, topic: str, payload: bytes = b"audit", *, retain: bool = False) -> str:
        """Publish (QoS 1); return "" when the broker says that it took it, else why not."""
        mid = self.client.publish(topic, payload, 1, retain).mid
        if not self.turn(lambda: mid in self.answers):
            return self.refusal or "no answer"
        return self.answers[mid]

    def got(self, payload: bytes) -> bool:
        """Say whether a message with this payload has arrived."""
        return any(body == payload for _, body, _ in self.heard)

    def cut(self) -> None:
        """Go without a word, so that a will is published."""
        link = cast("socket.socket | None", self.client.socket())
        if link is not None:
            with contextlib.suppress(OSError):
                link.close()
        self.up = False

    def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(OSError, ValueError):
            self.client.disconnect()
            self.client.loop(0.02)
        self.cut()

    def _opened(self, _client: Client, _user: object, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(self, _client: Client, _user: object, flags: Any, reason: Any, facts: Any) -> None:
        self.up = not reason.is_failure
        self.refusal = str(reason).lower() if reason.is_failure else ""
        self.present, self.facts = bool(flags.session_present), facts

    def _published(self, _client: Client, _user: object, mid: int, reason: Any, _facts: object) -> None:
        self.answers[mid] = str(reason).lower() if reason.is_failure else ""

    def _subscribed(self, _client: Client, _user: object, mid: int, reasons: list[Any], _facts: object) -> None:
        self.granted[mid] = not any(reason.is_failure for reason in reasons)

    def _took(self, _client: Client, _user: object, message: Any) -> None:
        with contextlib.suppress(UnicodeDecodeError):
            self.heard.append((message.topic, bytes(message.payload), bool(message.retain)))

    def _ended(self, _client: Client, _user: object, _flags: Any, reason: Any, _facts: object) -> None:
        self.up = False
        self.refusal = self.refusal or str(reason).lower()
