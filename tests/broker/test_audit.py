"""The audit of brokers: nothing wrong with ours, what is wrong with others found, and no verdict without a try."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Unreachable
from provisioning.broker.audit.found import OPEN, SHUT, UNKNOWN
from provisioning.broker.audit.run import DOORS, NAMES, audit, choose_version, tried
from provisioning.broker.audit.seat import Seat, Target, identity
from provisioning.broker.mosquitto import Broker
from provisioning.cli.audit import place
from tests.broker.seeds import SEEDS, built
from tests.courier.rig import FLEET, Site

ATTEMPTS = {door.name: attempt for door, attempt in DOORS}
# Those that take no time; make test-fleet tries all of them.
SWIFT = ("a second listener without TLS", "any authority", "suites with CBC", "a certificate of another name",
         "policies are writable", "no limit of size")  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Give a fleet."""
    return Site(tmp_path)


@pytest.fixture
def mute() -> Iterator[int]:
    """Give the port of somebody who takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_our_own_broker_has_every_door_shut(site: Site, tmp_path: Path):
    """No false alarm, and nothing that could not be told: every door was tried and held."""
    broker, seat = built(site, "", tmp_path / "ours")
    seat.patience = 1.0
    with broker, seat:
        found = [(door.name, one.verdict, one.said) for door, one in audit(seat)]
    assert [one for one in found if one[1] != SHUT] == []
    assert tuple(name for name, _, _ in found) == NAMES


@pytest.mark.parametrize("name", SWIFT)
def test_a_misconfiguration_is_found(site: Site, tmp_path: Path, name: str):
    """A real mosquitto with one thing wrong: the doors that this opens are found open."""
    broker, seat = built(site, name, tmp_path / "seeded")
    with broker, seat:
        choose_version(seat)
        for door in SEEDS[name].doors:
            found = tried(seat, ATTEMPTS[door])
            assert found.verdict == OPEN, (door, found.said)


def test_a_broker_that_is_not_the_right_one_is_told_nothing_and_judged_no_further(site: Site, tmp_path: Path):
    """With a wrong certificate the other doors are unknown, not shut: nothing was said to a stranger."""
    broker, seat = built(site, "a certificate of another fleet", tmp_path / "seeded")
    with broker, seat:
        found = {door.name: one.verdict for door, one in audit(seat)}
    assert found.pop("server") == OPEN
    assert found.pop("plain") == found.pop("web") == SHUT  # these say nothing to anybody
    assert set(found.values()) <= {UNKNOWN, SHUT}
    assert found["listen"] == found["takeover"] == found["own"] == UNKNOWN


def test_alone_it_cannot_tell_what_only_another_device_would_notice(site: Site, tmp_path: Path):
    """Without a second identity the doors that need one are unknown, with the way to help; the others are tried."""
    broker, seat = built(site, "", tmp_path / "ours")
    seat.other = seat.reader = seat.gone = None
    seat.patience = 0.2
    with broker, seat:
        found = {door.name: one for door, one in audit(seat)}
    missing = {name for name, one in found.items() if one.verdict == UNKNOWN}
    assert missing == {"revoked", "listen", "neighbour", "share", "speak", "will", "takeover", "pose"}
    assert all("--other" in found[name].said or "--revoked" in found[name].said for name in missing)
    assert {one.verdict for name, one in found.items() if name not in missing} == {SHUT}


def test_a_device_the_broker_does_not_know_proves_nothing(site: Site, tmp_path: Path):
    """Where the device's own topic is refused, silence elsewhere is no proof."""
    broker, seat = built(site, "", tmp_path / "ours")
    seat.target = Target(host="127.0.0.1", port=seat.target.port, fleet="another", plain=(), web=())
    with broker, seat:
        found = {door.name: one.verdict for door, one in audit(seat)}
    assert found["own"] == found["listen"] == found["nonsense"] == UNKNOWN
    assert found["anonymous"] == SHUT


def test_nobody_there_is_an_error_and_silence_no_verdict(site: Site, mute: int):
    """A closed port is one sentence; somebody who never answers opens nothing and shuts nothing."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    target = Target(host="127.0.0.1", port=port, fleet=FLEET, plain=(), web=())
    with Seat(target, identity(site.device("one"))) as seat, pytest.raises(Unreachable, match="nobody answers"):
        list(audit(seat))
    target = Target(host="127.0.0.1", port=mute, fleet=FLEET, plain=(), web=())
    with Seat(target, identity(site.device("one"))) as seat:
        assert tried(seat, ATTEMPTS["server"]).verdict == UNKNOWN


def dying(broker: Broker) -> None:
    """Kill a broker as soon as it complains of nonsense."""
    ends = time.monotonic() + 20
    while "multiple CONNECT" not in broker.log() and time.monotonic() < ends:
        time.sleep(0.005)
    broker.kill()


def test_a_broker_that_dies_of_nonsense_is_found(site: Site, tmp_path: Path):
    """Shown with a mosquitto that is killed in the midst of it, as one that crashes would be."""
    broker, seat = built(site, "", tmp_path / "ours")
    with broker, seat:
        killer = threading.Thread(target=dying, args=(broker,))
        killer.start()
        found = tried(seat, ATTEMPTS["nonsense"])
        killer.join()
        assert not broker.alive
    assert found.verdict == OPEN


@pytest.mark.parametrize("url", ["mqtt://a:1883", "http://a", "mqtts://", "mqtts://a:99999", "mqtts://a/b", "a b:c"])
def test_what_is_no_broker_with_tls_is_refused(url: str):
    """One sentence that shows how it is written."""
    with pytest.raises(BadInput, match=r"mqtts://broker\.example:8883"):
        place(url)


def test_places_are_read():
    """With and without scheme and port, and for IPv6."""
    assert place("broker.example") == ("broker.example", 8883)
    assert place("mqtts://[::1]:8884") == ("::1", 8884)
