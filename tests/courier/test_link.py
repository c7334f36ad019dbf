"""The caged link against a real mosquitto over mutual TLS."""

import gc
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from agent.core.errors import Refused
from agent.courier import trust
from agent.courier.link import STALLED, Link, Pace
from agent.courier.session import WINDOW
from provisioning.broker.mosquitto import Broker, free_port
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.courier.rig import QUICK, Remembering, Site, drive


def connected(site: Site, broker: Broker, name: str, pace: Pace = QUICK) -> tuple[Link, Remembering]:
    """Return a link that is up."""
    listener = Remembering()
    link = site.link(name, broker.setup.port, listener, pace)
    assert drive([link], lambda: link.connected), listener.states
    return link, listener


def feed(link: Link, listener: Remembering, count: int, each: int = 100) -> bool:
    """Publish so many messages; say whether all were answered."""
    given = len(listener.answers)
    goal = given + count
    published = given

    def more() -> bool:
        nonlocal published
        while published < goal and link.publish(published, "up/comfort", b"x" * each):
            published += 1
        return len(listener.answers) >= goal

    return drive([link], more, 10)


def test_a_thousand_messages_are_answered_in_order(site: Site, broker: Broker):
    """The link speaks TLS 1.3 and MQTT 5 to mosquitto, and everything comes back once, in order, without a refusal."""
    link, listener = connected(site, broker, "orderly")
    assert feed(link, listener, 1000)
    assert listener.answers == [(n, "") for n in range(1000)]
    assert link.session is not None
    assert link.session.socket is not None
    assert link.session.socket.version() == "TLSv1.3"
    assert not link.session.older
    assert link.session.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    link.close()
    assert link.faults == 0


def test_at_most_twenty_wait(site: Site):
    """Offline, twenty messages are taken and the next is not; what has no broker is not buffered."""
    link = site.link("waiting", 1, Remembering())
    assert all(link.publish(n, "up/comfort", b"x") for n in range(WINDOW))
    assert not link.publish(WINDOW, "up/comfort", b"x")


def test_what_waited_is_sent_after_the_broker_comes_back(site: Site):
    """A broker killed with messages in flight gets them when it is up again, and the link says what it went through."""
    with site.broker("killed", durable=False) as broker:
        link, listener = connected(site, broker, "patient")
        assert feed(link, listener, 50)
        broker.kill()
        assert all(link.publish(100 + n, "up/comfort", b"x") for n in range(WINDOW))
        assert drive([link], lambda: not link.connected)
        broker.start()
        assert drive([link], lambda: len(listener.answers) == 50 + WINDOW)
        assert [m for m, _ in listener.answers[50:]] == [100 + n for n in range(WINDOW)]
        assert listener.states[0] == ("connected", "")
        assert listener.states[-1] == ("connected", "")
        assert any(word == "offline" and cause for word, cause in listener.states)
        link.close()


def test_a_listener_that_raises_stops_nothing(site: Site, broker: Broker):
    """Each exception of a listener is counted and contained; messages go on being answered."""

    class Raising(Remembering):
        def sent(self, message: int, cause: str) -> None:
            super().sent(message, cause)
            raise RuntimeError(message)

        def state(self, word: str, cause: str) -> None:
            raise ValueError(word)

    listener = Raising()
    link = site.link("raising", broker.setup.port, listener)
    assert drive([link], lambda: link.connected)
    assert feed(link, listener, 100)
    assert link.faults == 101
    assert link.connected
    link.close()


def test_a_frozen_broker_is_left(site: Site):
    """A broker whose kernel answers and which itself does not is left after 2 x keepalive + slack, and found again."""
    with site.broker("frozen") as broker:
        link, listener = connected(site, broker, "watchful")
        broker.freeze()
        assert Path(f"/proc/{broker.pid}/stat").read_text().split(") ")[1][0] == "T"
        assert link.publish(1, "up/comfort", b"x")
        began = time.monotonic()
        assert drive([link], lambda: not link.connected, 4)
        waited = time.monotonic() - began
        assert listener.states[-1] == ("offline", STALLED)
        assert 1.9 <= waited < 2.5
        broker.thaw()
        assert drive([link], lambda: listener.answers == [(1, "")], 10)
        link.close()


def test_it_subscribes_again_when_the_broker_forgot(site: Site):
    """A broker that lost its sessions delivers again what is sent to the device after the return."""
    with site.broker("forgetful", durable=False) as broker:
        link, listener = connected(site, broker, "listening")
        sender, _ = connected(site, broker, "other")
        sessions = link.sessions
        broker.kill()
        assert drive([link, sender], lambda: not link.connected and not sender.connected)
        broker.start()
        assert drive([link], lambda: link.connected)
        assert link.sessions == sessions + 1
        send_from_collector(site, broker, "listening", b"newest policy")
        assert drive([link], lambda: listener.arrivals == [("policy", b"newest policy")])
        link.close()
        sender.close()


def test_what_came_while_away_is_kept(site: Site):
    """A durable broker keeps a policy for a device that is away, even when it is killed after it wrote its store."""
    with site.broker("durable") as broker:
        link, _ = connected(site, broker, "traveller")
        link.close()
        send_from_collector(site, broker, "traveller", b"policy 2")
        store = broker.directory / "mosquitto.db"
        assert not store.exists()
        broker.signal(signal.SIGUSR1)  # it writes its store now, which it does by itself each half minute
        ends = time.monotonic() + 30
        while not store.exists():
            assert time.monotonic() < ends
            time.sleep(0.01)
        broker.kill()
        broker.start()
        again, listener = connected(site, broker, "traveller")
        assert drive([again], lambda: listener.arrivals == [("policy", b"policy 2")])
        again.close()


def test_a_refused_message_is_answered_with_a_sentence(site: Site, broker: Broker):
    """A topic outside the device's own rights is refused by the broker, and the refusal is told, not swallowed."""
    link, listener = connected(site, broker, "curious")
    assert link.publish(1, "policy", b"forged")
    assert drive([link], lambda: len(listener.answers) == 1)
    assert "not authorized" in listener.answers[0][1]
    link.close()


def test_fifty_links_share_one_loop(site: Site, broker: Broker):
    """Fifty devices in one thread: all connect and all are answered, no descriptor stays open afterwards."""
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    listeners = [Remembering() for _ in range(50)]
    links = [site.link(f"many{n}", broker.setup.port, listener) for n, listener in enumerate(listeners)]
    for link in links:
        assert link.publish(1, "up/comfort", b"x")
    assert drive(links, lambda: all(listener.answers for listener in listeners), 10)
    for link in links:
        link.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_identity_is_told_and_found_later(site: Site, broker: Broker):
    """A device that is not enrolled says so, and connects by itself once its certificate is there."""
    listener = Remembering()
    link = site.link("late", broker.setup.port, listener)
    certificate = site.device("late") / "cert.pem"
    kept = certificate.read_bytes()
    certificate.unlink()
    assert drive([link], lambda: bool(listener.states))
    assert listener.states[0][0] == "offline"
    assert "enrol" in listener.states[0][1]
    certificate.write_bytes(kept)
    assert drive([link], lambda: link.connected)
    link.close()


def test_the_key_is_refused_when_others_can_read_it(site: Site):
    """A key left readable is not used; the sentence says how to close it."""
    home = site.device("careless")
    (home / "key.pem").chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        trust.verified(home / "ca.pem", home / "cert.pem", home / "key.pem")


def send_from_collector(site: Site, broker: Broker, device: str, payload: bytes) -> None:
    """Publish a policy to a device with the identity of a collector."""
    home = site.service("one")
    name = f"r{time.monotonic_ns()}"
    site.fleet.add_recipient(name)
    store = Store(site.directory / f"{name}.db")
    collector = Collector(site.fleet.name, name, site.fleet.recipient_key(name), store, print)
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", broker.setup.port, context, "one")
    end = time.monotonic() + 5
    while not line.connected and time.monotonic() < end:
        line.turn(0.05)
    line.send(device, "policy", payload)
    for _ in range(3):
        line.turn(0.02)
    line.close()
    store.close()


def test_several_brokers_are_tried_in_their_order(site: Site):
    """Where nobody listens or the certificate has another name it goes on; a killed one is left for the next."""
    first, second = site.broker("first"), site.broker("second")
    stranger = site.broker("elsewhere", names=["elsewhere.example"])
    listener = Remembering()
    ports = [stranger.setup.port, first.setup.port, second.setup.port]
    link = site.link("several", free_port(), listener, others=ports)
    with stranger, first, second:
        assert drive([link], lambda: link.connected), listener.states
        assert link.place.port == first.setup.port
        assert [cause for word, cause in listener.states if word == "offline"][-1] == trust.ADDRESS
        first.kill()
        assert drive([link], lambda: link.connected and link.place.port == second.setup.port), listener.states
        assert feed(link, listener, 20)
        second.kill()
        first.start()
        assert drive([link], lambda: link.connected and link.place.port == first.setup.port), listener.states
    link.close()
    assert link.faults == 0
