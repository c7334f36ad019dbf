"""The steward's connection to the broker: policies out, answers in. MQTT 3.1.1, which every broker of ours speaks.

Its session is kept by the broker, so what devices say while nobody pushes is heard at the next push or status.
"""

import contextlib
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, cast

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from agent.core.errors import BadInput, Unreachable
from provisioning.fleet.identity import Fleet
from provisioning.fleet.rollout import Rollout, read_answer
from provisioning.fleet.safe import whole_file

STEWARD = "steward"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
PATIENCE = 10.0  # seconds for the broker
IN_FLIGHT = 20
DAYS = 1


class Steward:
    """`with Steward(fleet, host, port) as steward:` connects; `turn` lets things happen, `heard` is what was said."""

    def __init__(self, fleet: Fleet, host: str, port: int) -> None:
        self.fleet, self.host, self.port = fleet, host, port
        self.heard: list[tuple[str, bytes]] = []
        self.refusal = ""
        self.ready = False
        self._top = f"privet/1/{fleet.name}/"
        self._open: set[int] = set()
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"service_{STEWARD}", protocol=MQTTProtocolVersion.MQTTv311,
            clean_session=False, reconnect_on_failure=False,
        )  # fmt: skip
        self._client.suppress_exceptions = True
        self._client.connect_timeout = PATIENCE
        self._client.tls_set_context(self._context())
        self._client.on_socket_open = self._on_socket_open
        self._client.on_connect = cast("Any", self._on_connect)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message

    def __enter__(self) -> Self:
        try:
            self._client.connect(self.host, self.port, 30)
        except OSError as error:
            raise Unreachable(f"the broker at {self.host} port {self.port} is not reached ({error})") from None
        if not self.turn(lambda: self.ready, PATIENCE):
            why = self.refusal or "it does not answer"
            raise Unreachable(f"the broker at {self.host} port {self.port} does not let the steward work ({why})")
        return self

    def __exit__(self, *_exc: object) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._client.disconnect()
        link = cast("socket.socket | None", self._client.socket())
        if link is not None:
            with contextlib.suppress(OSError):
                link.close()

    def turn(self, until: Callable[[], bool], seconds: float) -> bool:
        """Work until something holds or the time is over; Unreachable when the broker goes away."""
        ends = time.monotonic() + seconds
        while not until() and time.monotonic() < ends and not self.refusal:
            if self._client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise Unreachable(f"the broker at {self.host} ended the connection; run the same command again")
        return until()

    def send(self, device: str, signed: bytes) -> None:
        """Send a device its policy; the broker keeps it for one that is away, or the next push sends it again."""
        self.turn(lambda: len(self._open) < IN_FLIGHT, PATIENCE)
        self._open.add(self._client.publish(f"{self._top}{device}/policy", signed, qos=1).mid)

    def settled(self) -> bool:
        """Say whether the broker has taken all that was sent."""
        return not self._open

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_verify_locations(cadata=self.fleet.trust_anchor().decode())
        made = self.fleet.service(STEWARD, DAYS)
        with tempfile.TemporaryDirectory(prefix="privet-steward-") as folder:  # ssl takes a chain from a file alone
            path = Path(folder) / "both.pem"
            whole_file(path, made.certificate + made.key)
            context.load_cert_chain(str(path))
        return context

    def _on_socket_open(self, _client: Client, _user: object, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(self, client: Client, _user: object, _flags: object, reason: Any, _facts: object) -> None:
        if reason.is_failure:
            self.refusal = str(reason).lower()
        else:
            client.subscribe(f"{self._top}+/state", qos=1)

    def _on_subscribe(self, _client: Client, _user: object, _mid: int, reasons: list[Any], _facts: object) -> None:
        self.ready = not any(reason.is_failure for reason in reasons)
        self.refusal = "" if self.ready else "it may not hear what devices say; update the broker's access list"

    def _on_publish(self, _client: Client, _user: object, mid: int, _reason: Any, _facts: object) -> None:
        self._open.discard(mid)

    def _on_message(self, _client: Client, _user: object, message: Any) -> None:
        with contextlib.suppress(UnicodeDecodeError):
            device, _, leaf = str(message.topic).removeprefix(self._top).partition("/")
            if leaf == "state":
                self.heard.append((device, bytes(message.payload)))


def take(rollout: Rollout, steward: Steward) -> list[str]:
    """Enter what was heard into the record; return the devices that now stand elsewhere, and odd answers in words."""
    changed = []
    heard, steward.heard = steward.heard, []
    for device, payload in heard:
        try:
            if rollout.hear(device, read_answer(payload), int(time.time())):
                changed.append(device)
        except BadInput:
            continue  # a device of another version; it stays where it stands
    if changed:
        rollout.save()
    return changed


def push(rollout: Rollout, steward: Steward, signed: bytes, seconds: float, told: Callable[[Rollout], None]) -> None:
    """Send stage after stage until all have answered, it halts, or nobody has answered for so many seconds."""
    asked: set[str] = set()
    rollout.behind.clear()
    patience = time.monotonic() + seconds
    while True:
        for name in rollout.due():
            if name not in asked or name in rollout.behind:
                rollout.behind.discard(name)
                asked.add(name)
                rollout.sent(name, int(time.time()))
                steward.send(name, signed)
        rollout.save()
        steward.turn(lambda: bool(steward.heard), 0.25)
        if take(rollout, steward):
            patience = time.monotonic() + seconds
        told(rollout)
        left = [name for name in rollout.due() if name not in asked]
        if not left and (not rollout.due() or time.monotonic() > patience):
            steward.turn(steward.settled, PATIENCE)
            return
