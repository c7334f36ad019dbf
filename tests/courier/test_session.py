"""What a session asks of its broker: MQTT 5 with its limits and its will, or what 3.1.1 has of it."""

import socket
import threading
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from agent.courier.session import GONE, KEPT, WINDOW
from provisioning.broker.mosquitto import Broker
from provisioning.collector.line import trusted
from tests.courier import fake
from tests.courier.rig import Remembering, Site, drive

SESSION_EXPIRY, RECEIVE_MAXIMUM, WILL_DELAY = 0x11, 0x21, 0x18
WILL = b"\0\x1eprivet/1/meadow/asking/state\0\1" + GONE


@pytest.mark.parametrize("older", [False, True])
def test_what_connect_asks_for(site: Site, tmp_path: Path, *, older: bool):
    """The session is kept for a week, twenty unanswered at a time, a will at QoS 1 that is not retained."""
    asked: list[bytes] = []

    def broker(link: socket.socket) -> None:
        """Remember what the first packet was; a broker of 3.1.1 hangs up on a newer one."""
        asked.append(first := fake.packet(link))
        if first[8] == 4 or not older:
            link.recv(1)

    with fake.serving(broker, fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("asking", server.port, Remembering())
        assert drive([link], lambda: len(asked) == 1 + older)
        link.close()
    first = asked[-1]
    clean, will, qos, retained = first[9] & 2, first[9] & 4, first[9] >> 3 & 3, first[9] & 32
    assert (first[8], clean, will, qos, retained) == (4 if older else 5, 0, 4, 1, 0)
    assert first.endswith(WILL.replace(b"\x1e", bytes([len("privet/1/meadow/asking/state")])))
    if not older:
        assert bytes([SESSION_EXPIRY]) + KEPT.to_bytes(4, "big") in first
        assert bytes([RECEIVE_MAXIMUM]) + WINDOW.to_bytes(2, "big") in first
        assert bytes([WILL_DELAY, 0, 0, 0, 30]) in first


def test_the_window_of_the_broker_is_kept(site: Site, tmp_path: Path):
    """A broker that takes three at a time has never more than three unanswered."""
    came: list[bytes] = []
    enough = threading.Event()

    def broker(link: socket.socket) -> None:
        """Greet with a receive maximum of three, and answer nothing."""
        fake.packet(link)
        link.sendall(bytes.fromhex("2006000003210003"))
        subscribe = fake.packet(link)
        answer = subscribe[2:4] + b"\0\1\1"
        link.sendall(bytes([0x90, len(answer)]) + answer)
        link.settimeout(1)
        while publish := fake.packet(link):
            came.append(publish)
            if len(came) >= 3:
                enough.set()

    with fake.serving(broker, fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("window", server.port, Remembering())
        for number in range(10):
            link.publish(number, "up/comfort", b"x")
        assert drive([link], enough.is_set)
        drive([link], lambda: len(came) > 3, 0.3)
        link.close()
    assert len([packet for packet in came if packet[0] >> 4 == 3]) == 3


def test_the_broker_tells_who_vanished_and_not_who_left(site: Site, broker: Broker):
    """A link that is cut leaves its will with a real broker; one that says goodbye leaves none."""
    heard: list[str] = []
    ready: list[int] = []
    gone = threading.Event()
    home = site.service("two")
    watcher = Client(CallbackAPIVersion.VERSION2, client_id="two")
    watcher.tls_set_context(trusted(home / "ca.pem", home / "cert.pem", home / "key.pem"))
    watcher.on_subscribe = lambda *facts: ready.append(facts[2])

    def told(_client: Client, _user: object, message: MQTTMessage) -> None:
        """Remember who was said to be gone."""
        if message.payload == GONE:
            heard.append(message.topic)
            gone.set()

    watcher.on_message = told
    watcher.connect("localhost", broker.setup.port)
    watcher.subscribe("privet/1/meadow/+/state", 1)
    watcher.loop_start()
    links = [site.link(name, broker.setup.port, Remembering()) for name in ("leaves", "vanishes")]
    for link in links:
        link._older = True  # in MQTT 5 the broker waits for half a minute before it tells
    try:
        assert drive(links, lambda: bool(ready) and all(link.connected for link in links))
        session = links[1].session
        assert session is not None and session.older
        links[0].close()
        session.cut()
        assert gone.wait(10)
    finally:
        watcher.disconnect()
        watcher.loop_stop()
        links[1].close()
    assert heard == ["privet/1/meadow/vanishes/state"]
