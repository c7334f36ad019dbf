"""Brokers that mean harm or are merely old: nothing they send ends the link, fills the memory or is believed."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.courier import trust
from agent.courier.link import MUTE, Link, Pace
from tests.courier import fake
from tests.courier.rig import Remembering, Site, drive

ROOT = Path(__file__).resolve().parents[2]
MOST_GROWTH = 4 * 1024  # KiB
# Each connects once and prints by how many KiB its process grew, and why it ended.
# VmHWM belongs to this program alone; ru_maxrss begins with the peak of the process that started it (getrusage(2)).
PEAK = "int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
OURS = f"""
import sys
from pathlib import Path
from agent.courier.link import Link, Pace
from agent.courier.session import Place
from tests.courier.rig import Remembering, trusting, drive
listener = Remembering()
place = Place(host="127.0.0.1", port=int(sys.argv[2]), fleet="meadow", device="victim")
link = Link(place, trusting(Path(sys.argv[1])), listener, Pace(keepalive=5, slack=0, first=2000, most=2000))
link._due = 0.0
assert drive([link], lambda: link.connected), listener.states
before = {PEAK}
assert drive([link], lambda: not link.connected)
print({PEAK} - before, listener.states[-1][1])
"""
BARE = f"""
import ssl, sys, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
client = Client(CallbackAPIVersion.VERSION2, client_id="victim", protocol=MQTTProtocolVersion.MQTTv5)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(sys.argv[1] + "/ca.pem")
client.tls_set_context(context)
client.on_connect = lambda c, *_: c.subscribe("t", 1)
client.connect("127.0.0.1", int(sys.argv[2]))
before = {PEAK}
while client.loop(1) == 0:
    pass
print({PEAK} - before, "the peer ended it")
"""


def growth(site: Site, tmp_path: Path, program: str) -> tuple[int, str]:
    """Run a client in a process of its own against a flood of 256 MiB; return its growth in KiB and its last words."""
    home = site.device("victim")
    with fake.serving(fake.flood, fake.certificate(tmp_path, site.fleet)) as server:
        argv = [sys.executable, "-c", program, str(home), str(server.port)]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert server.greetings == 1
    assert done.returncode == 0, done.stderr
    number, _, words = done.stdout.strip().partition(" ")
    return int(number), words


def test_a_message_of_256_mib_is_refused_at_its_announcement(site: Site, tmp_path: Path):
    """The session is dropped with the right sentence and the memory stays flat."""
    grown, words = growth(site, tmp_path, OURS)
    assert words == trust.TOO_LARGE
    assert grown < MOST_GROWTH


def test_the_library_alone_buffers_what_it_is_sent(site: Site, tmp_path: Path):
    """The known-bad twin: the same flood fills a bare client's memory with all that was poured."""
    grown, _ = growth(site, tmp_path, BARE)
    assert grown > 8 * MOST_GROWTH


@pytest.mark.parametrize("script", [fake.only_older, fake.says_no_to_newer], ids=["hangs up", "says so"])
def test_a_broker_without_mqtt_5_is_served_in_3_1_1(site: Site, tmp_path: Path, script: fake.Script):
    """Refused with MQTT 5, the link asks again at once in 3.1.1, without a word to the guard about the detour."""
    listener = Remembering()
    with fake.serving(script, fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("older", server.port, listener)
        link.publish(1, "up/comfort", b"x")
        assert drive([link], lambda: link.connected), listener.states
        assert listener.states == [("connected", "")]
        assert link.session is not None
        assert link.session.older
        assert server.greetings == 2
        if script is fake.only_older:
            assert drive([link], lambda: listener.answers == [(1, "")])
        link.close()


def test_a_broker_that_says_nothing_is_left(site: Site, tmp_path: Path):
    """A server that accepts the connection and is silent is left after the time for greetings, with its sentence."""
    listener = Remembering()
    with fake.serving(
        lambda link: (link.recv(4096), link.recv(4096)), fake.certificate(tmp_path, site.fleet)
    ) as server:
        link = site.link("greeter", server.port, listener)
        assert drive([link], lambda: link.session is not None)
        assert link.session is not None
        link.session.since -= 10  # the ten seconds are over
        assert drive([link], lambda: bool(listener.states))
        assert listener.states == [("offline", MUTE)]
        link.close()


def test_a_broker_that_refuses_our_topics_is_no_connection(site: Site, tmp_path: Path):
    """A refused subscription is told as what it is: without acknowledgements nothing would ever be let go."""

    def script(link: socket.socket) -> None:
        fake.packet(link)
        link.sendall(fake.CONNACK_5)
        subscribe = fake.packet(link)
        link.sendall(bytes([0x90, 5]) + subscribe[2:4] + b"\0\x87\1")
        link.recv(4096)

    listener = Remembering()
    with fake.serving(script, fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("unheard", server.port, listener)
        assert drive([link], lambda: bool(listener.states))
        assert listener.states[0][0] == "offline"
        assert "its own topics" in listener.states[0][1]
        assert link.sessions == 0
        link.close()


def test_a_broker_that_promises_no_keepalive_is_watched_all_the_same(site: Site, tmp_path: Path):
    """A Server Keep Alive of 0 switches paho's pings off; the link's own patience still ends."""
    connack = bytes.fromhex("20060000 03130000")

    def script(link: socket.socket) -> None:
        fake.packet(link)
        link.sendall(connack)
        subscribe = fake.packet(link)
        link.sendall(bytes([0x90, 5]) + subscribe[2:4] + b"\0\1\1")
        link.recv(4096)

    listener = Remembering()
    with fake.serving(script, fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("unwatched", server.port, listener)
        assert drive([link], lambda: bool(listener.states), 6)
        assert drive([link], lambda: any(word == "offline" for word, _ in listener.states), 6)
        link.close()


@pytest.fixture(scope="module")
def reciting(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Reciting"]:
    """Give a server that greets properly and then recites, and one link that comes back to it again and again."""
    site = Site(tmp_path_factory.mktemp("reciting"))
    made = Reciting()
    with fake.serving(made.script, fake.certificate(site.directory, site.fleet)) as server:
        made.link = site.link("garbage", server.port, made.listener, Pace(keepalive=1, slack=0, first=0, most=0))
        yield made
        made.link.close()


class Reciting:
    """What the server says next, and the link that hears it."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.listener = Remembering()
        self.link: Link | None = None

    def script(self, link: socket.socket) -> None:
        """Greet, then say the chunks."""
        fake.greet(link)
        for chunk in self.chunks:
            link.sendall(chunk)


# The first byte is often a packet a broker may send, so that what follows meets its decoder.
FIRST = st.sampled_from([0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0, 0xF0])
PACKETS = st.builds(lambda head, rest: bytes([head, len(rest)]) + rest, FIRST, st.binary(max_size=60))


@given(st.lists(PACKETS | st.binary(min_size=1, max_size=60), min_size=1, max_size=4))
def test_no_bytes_of_a_broker_raise(reciting: Reciting, chunks: list[bytes]):
    """Whatever follows a proper greeting, each step returns, the session ends and the link comes back."""
    link, states = reciting.link, reciting.listener.states
    assert link is not None
    reciting.chunks = chunks
    for _ in range(2):  # the first session may still be one of the last example
        states.clear()
        assert drive([link], lambda: any(word == "offline" for word, _ in states), 5)
    assert all(kind in {"ack", "policy"} for kind, _ in reciting.listener.arrivals)
