"""A bare MQTT client with an identity: what it may say and hear, and whether it is let in at all."""

import time
from collections.abc import Callable
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.courier import trust
from provisioning.broker.mosquitto import Broker

PATIENCE = 20.0


class Party:
    """A bare MQTT client with an identity, for what our own link would never try."""

    def __init__(self, broker: Broker, home: Path, name: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.verdicts: dict[int, str] = {}
        self.up = False
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.tls_set_context(trust.verified(home / "ca.pem", home / "cert.pem", home / "key.pem"))
        self.client.on_message = lambda _c, _u, m: self.heard.append((m.topic, bytes(m.payload)))
        self.client.on_publish = lambda _c, _u, mid, reason, _p: self.verdicts.update({mid: str(reason)})
        self.client.on_subscribe = lambda _c, _u, _m, _r, _p: setattr(self, "up", True)
        self.client.connect("127.0.0.1", broker.setup.port)

    def turn(self, seconds: float = 0.15) -> None:
        """Let things happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.client.loop(0.01)

    def until(self, so: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Let things happen until something is so; say whether it is."""
        end = time.monotonic() + seconds
        while not so() and time.monotonic() < end:
            self.client.loop(0.05)
        return so()

    def arrives(self) -> bool:
        """Wait until the broker has welcomed it, or has ended the connection instead; say which."""
        self.until(lambda: self.client.is_connected() or self.client.socket() is None)
        return self.client.is_connected()

    def ended(self, seconds: float = PATIENCE) -> bool:
        """Wait until the broker has ended the connection; say False when it has not."""
        return self.until(lambda: not self.client.is_connected() or self.client.socket() is None, seconds)

    def hears(self, topic: str) -> None:
        """Ask for a topic and wait for the answer."""
        assert self.arrives()
        self.up = False
        self.client.subscribe(topic, 1)
        while not self.up:
            assert self.client.loop(1) == 0

    def says(self, topic: str, payload: bytes = b"x") -> bool:
        """Publish; say whether the broker took it."""
        assert self.arrives()
        mid = self.client.publish(topic, payload, 1).mid
        while mid not in self.verdicts:
            assert self.client.loop(1) == 0
        return self.verdicts[mid] != "Not authorized"

    def close(self) -> None:
        """Go away."""
        self.client.disconnect()
        self.client.loop(0.1)
        self.client._reset_sockets()  # its own pair as well, which it leaves to the collector of garbage


def let_in(broker: Broker, home: Path) -> bool:
    """Say whether a client with these files is let in: its handshake, and its CONNECT answered with yes."""
    try:
        party = Party(broker, home)
    except OSError:  # ssl.SSLError is one
        return False
    try:
        return party.arrives()
    finally:
        party.close()
