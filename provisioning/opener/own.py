"""The connection to the owner's own broker: which one may be meant is `place.py`; publishing until it has taken all."""

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from agent.core.errors import PrivetError, Refused, Unreachable
from agent.core.record import Record
from agent.core.secret import Secret
from provisioning.opener.effects import Publish
from provisioning.opener.place import Place, answers_at_home

CONNECT, TAKEN = 5.0, 15.0  # seconds
KEEPALIVE = 30  # seconds
SLOWEST = 30.0  # seconds between two tries
UNKNOWN_VERSION = {"Unsupported protocol version", "Connection Refused: unacceptable protocol version."}


class Login(Record):
    """How the opener signs in there."""

    __slots__ = ("name", "password")
    name: str
    password: Secret


class OwnBroker:
    """Publishes to the owner's own broker; `sessions` counts how often it was reached."""

    def __init__(self, place: Place, login: Login | None, name: str) -> None:
        self.place, self.sessions = place, 0
        self._login, self._name = login, name
        self._older = False  # the next session is to speak MQTT 3.1.1
        self._client: Client | None = None
        self._denied = self._cause = ""
        self._greeted = False
        self._due, self._pause = 0.0, 0.5

    def __repr__(self) -> str:
        return f"OwnBroker({self.place.host!r}, {self.place.port!r})"

    def connect(self) -> None:
        """Reach it; Unreachable, also while it is too early for another try."""
        if self._client is not None:
            return
        if time.monotonic() < self._due:
            raise Unreachable(f"your own broker is not reached ({self._cause}); it is tried again")
        try:
            self._open()
        except Exception as error:
            self._drop(told(error))
            if isinstance(error, PrivetError):
                raise
            raise Unreachable(f"your own broker is not reached ({self._cause}); it is tried again") from None
        self._pause, self.sessions = 0.5, self.sessions + 1

    def publish(self, messages: Sequence[Publish]) -> None:
        """Return once it has taken every message; Unreachable, or Refused when it denies one."""
        self.connect()
        client, self._denied = cast("Client", self._client), ""
        try:
            sent = [client.publish(one.topic, one.payload, 1, retain=one.retain) for one in messages]
            self._wait(client, lambda: all(taken(note) for note in sent))
        except Exception as error:
            self._drop(told(error))
            if isinstance(error, PrivetError):
                raise
            raise Unreachable(f"your own broker took nothing ({self._cause}); it is tried again") from None
        if self._denied:
            raise Refused(f"your own broker does not let the opener publish ({self._denied}); allow it there")

    def idle(self) -> None:
        """Keep the connection alive while there is nothing to publish."""
        if self._client is not None:
            try:
                self._turn(self._client, 0)
            except Exception as error:  # noqa: BLE001 - paho raises what a broker makes it raise
                self._drop(told(error))

    def close(self) -> None:
        """Say goodbye."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.disconnect()
        self._drop("closed")

    def _open(self) -> None:
        self._greeted, self._denied = False, ""
        client = self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._name,
            protocol=MQTTProtocolVersion.MQTTv311 if self._older else MQTTProtocolVersion.MQTTv5,
            clean_session=True if self._older else None,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT
        if self.place.context is not None:
            client.tls_set_context(self.place.context)
        if self._login is not None:
            client.username_pw_set(self._login.name, self._login.password.reveal().decode())
        client.on_socket_open = self._on_socket_open
        client.on_connect = cast("Any", self._on_connect)
        client.on_publish = self._on_publish
        client.connect(self.place.host, self.place.port, KEEPALIVE)
        self._wait(client, lambda: self._greeted)

    def _wait(self, client: Client, over: Callable[[], bool]) -> None:
        ends = time.monotonic() + TAKEN
        while not over():
            if time.monotonic() > ends:
                raise Unreachable("it does not answer")
            self._turn(client, 0.5)

    def _turn(self, client: Client, seconds: float) -> None:
        link = cast("ssl.SSLSocket | socket.socket | None", client.socket())
        if link is None or link.fileno() < 0:
            raise Unreachable("it ended the connection")
        with selectors.DefaultSelector() as selector:
            selector.register(link, selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0))
            waiting = isinstance(link, ssl.SSLSocket) and link.pending()
            ready = selector.select(0 if waiting else seconds)
        if waiting or any(events & selectors.EVENT_READ for _, events in ready):
            client.loop_read()
        if client.want_write():
            client.loop_write()
        if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unreachable("it ended the connection")

    def _drop(self, cause: str) -> None:
        client, self._client = self._client, None
        if client is not None and (link := client.socket()) is not None:
            with contextlib.suppress(OSError):
                link.close()
        self._cause = cause
        self._due = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, SLOWEST)

    def _on_socket_open(self, _client: Client, _user: object, opened: Any) -> None:
        """Look who answers before anything is said: a name may lead elsewhere by now."""
        address = str(opened.getpeername()[0])
        if not answers_at_home(address, self.place.context is not None):
            raise Refused(f"your own broker answers from {address} now, where it may not be; nothing was sent there")
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, client: Client, _user: object, _flags: object, reason: Any, _facts: object) -> None:
        if str(reason) in UNKNOWN_VERSION:
            self._older = not self._older
        if reason.is_failure:
            raise Unreachable(f"it refuses the opener: {str(reason).lower()}")
        self._greeted = True

    def _on_publish(self, _client: Client, _user: object, _mid: int, reason: Any, _facts: object) -> None:
        if reason.is_failure:
            self._denied = str(reason).lower()


def taken(note: MQTTMessageInfo) -> bool:
    """Say whether the broker has taken a message; Unreachable when it never will."""
    if note.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise Unreachable("the connection ended")
    return note.is_published()


def told(error: Exception) -> str:
    """Say an error of others in a few words."""
    return str(error) if isinstance(error, OSError | PrivetError) else type(error).__name__
