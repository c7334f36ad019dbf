"""A whole fleet on one machine, under one directory: keys, a real broker on loopback, the collector, an onlooker."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.core.errors import Failed
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.collector.line import trusted
from provisioning.fleet.identity import SERVICE, Fleet
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import add_recipient
from provisioning.simulate.receiving import Receiving

HOST = "127.0.0.1"
RECIPIENT = "collector"
ONLOOKER = "onlooker"


class Stage:
    """Everything but the devices; `with Stage.build(folder) as stage:` starts it and ends all it started."""

    def __init__(self, folder: Path, fleet: Fleet, port: int) -> None:
        self.folder = folder
        self.fleet = fleet
        self.port = port
        setup = Setup(fleet=fleet.name, address=HOST, port=port, collectors=(RECIPIENT, ONLOOKER), durable=True)
        self.broker = Broker(folder / "broker", setup, fleet.server([HOST]), fleet.client_anchors())
        self.receiving = Receiving(fleet, RECIPIENT, self.identity(RECIPIENT), (HOST, port))
        self.onlooker: Onlooker | None = None

    @classmethod
    def build(cls, folder: Path, name: str) -> "Stage":
        """Make a fleet with its recipient, on a free port of this machine."""
        fleet = Fleet.create(folder / "fleet", name)
        add_recipient(fleet, RECIPIENT)
        port = free_port(HOST)
        fleet.safe.seal(broker_host=HOST, broker_port=str(port))
        return cls(folder, fleet, port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start broker and collector."""
        self.broker.start()
        self.receiving.start()

    def close(self) -> None:
        """End onlooker, collector and broker."""
        if self.onlooker is not None:
            self.onlooker.close()
        self.receiving.close()
        self.broker.stop()

    def identity(self, name: str) -> tuple[Path, Path, Path]:
        """Give a collector its certificate; return the paths of trust anchor, certificate and key."""
        credential = self.fleet.service(name)
        home = self.folder / name
        files = {"ca.pem": self.fleet.trust_anchor(), "cert.pem": credential.certificate, "key.pem": credential.key}
        for file, content in files.items():
            whole_file(home / file, content)
        return home / "ca.pem", home / "cert.pem", home / "key.pem"

    def look_on(self) -> "Onlooker":
        """Let somebody with a collector's certificate, but no recipient's key, listen at the broker."""
        self.onlooker = Onlooker(self.fleet.name, self.port, trusted(*self.identity(ONLOOKER)))
        return self.onlooker

    def until(self, done: Callable[[], bool], turn: Callable[[], object], seconds: float, what: str) -> float:
        """Turn the devices until something is so; return the seconds it took, or Failed naming what."""
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > seconds:
                raise Failed(f"{what} did not happen within {seconds:g} seconds; look into {self.folder}")
            turn()
        return time.monotonic() - began


class Onlooker:
    """Listens to everything at the broker, as its operator or a thief of its disk could."""

    def __init__(self, fleet: str, port: int, context: ssl.SSLContext) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.ready = False
        self._topic = f"privet/1/{fleet}/+/up/+"
        self._client = Client(CallbackAPIVersion.VERSION2, SERVICE + ONLOOKER, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.tls_set_context(context)
        self._client.on_socket_open = self._opened
        self._client.on_connect = self._connected
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._took
        self._client.connect(HOST, port)
        self._client.loop_start()

    def close(self) -> None:
        """Stop listening."""
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self._client.loop_stop()

    def _opened(self, _client: Client, _user: object, opened: Any) -> None:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(self, client: Client, *_facts: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _subscribed(self, *_facts: object) -> None:
        self.ready = True

    def _took(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))
