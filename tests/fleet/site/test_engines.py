"""The broker contract: what an engine must do for a fleet. One that passes is admitted; what it cannot, is named."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from provisioning.broker.audit.found import OPEN, SHUT
from provisioning.broker.audit.party import Party
from provisioning.broker.audit.run import audit, choose_version
from provisioning.broker.audit.seat import Seat, Target, identity
from provisioning.broker.child import Child
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE
from provisioning.profile.issue import add_recipient
from tests.courier.rig import FLEET, Remembering, drive
from tests.fleet.site.engines import Engine, engine, site_for_all

KINDS = ("mosquitto", "nats", "rabbitmq")
DEVICES = ("anna", "bert", "cleo", "dora")


@pytest.fixture(scope="module", params=KINDS)
def running(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give each engine in turn, running."""
    site, held = site_for_all()
    made = engine(request.param, site, DEVICES)
    with made.broker:
        yield made
    held.cleanup()


@pytest.fixture
def seat(running: Engine) -> Iterator[Seat]:
    """Give a device's seat before it, with a collector who listens."""
    site = running.site
    target = Target(host="127.0.0.1", port=running.broker.setup.port, fleet=FLEET, plain=(), web=())
    anna, bert, one = (identity(home) for home in (site.device("anna"), site.device("bert"), site.service("one")))
    with Seat(target, anna, bert, one, identity(site.device("stranger"))) as made:
        made.patience = 1.0
        choose_version(made)
        yield made


def until(done: Callable[[], bool], turn: Callable[[], object], seconds: float = 20.0) -> bool:
    """Turn until something is so; say whether it came to be."""
    ends = time.monotonic() + seconds
    while not done() and time.monotonic() < ends:
        turn()
    return done()


def test_every_door_is_shut_but_those_it_is_known_for(running: Engine, seat: Seat):
    """The audit from a device's seat: what is open is what its module names, with the reason; nothing is in doubt."""
    found = {door.name: one for door, one in audit(seat)}
    if running.broker.program == "mosquitto":
        found.pop("revoked")  # here whoever the fleet has certified and not revoked belongs to it
    opened = {name for name, one in found.items() if one.verdict == OPEN}
    assert opened <= set(running.limits), {name: found[name].said for name in opened - set(running.limits)}
    assert {one.verdict for name, one in found.items() if name not in opened} == {SHUT}, found


def test_messages_arrive_once_and_in_order(running: Engine, seat: Seat):
    """A hundred of them at QoS 1, from a device to a collector that listens."""
    assert seat.reader is not None
    with Party(seat, seat.reader) as reader, Party(seat, seat.one) as one:
        assert reader.hears(seat.topic("+", "up/+"))
        for number in range(100):
            assert one.says(seat.topic("anna", "up/order"), b"%d" % number) == ""
        reader.turn(lambda: len(reader.heard) >= 100)
        assert [body for _, body, _ in reader.heard] == [b"%d" % number for number in range(100)]


def test_a_device_that_was_away_gets_its_policy(running: Engine, seat: Seat):
    """What a collector says to a device that sleeps waits for it."""
    assert seat.reader is not None
    topic = seat.topic("anna", "policy")
    with Party(seat, seat.one, clean=False) as one:
        assert one.hears(topic)
    with Party(seat, seat.reader) as reader:
        assert reader.says(topic, b"while you slept") == ""
    with Party(seat, seat.one, clean=False) as one:
        assert one.present
        assert one.turn(lambda: one.got(b"while you slept"))
    with Party(seat, seat.one):
        pass  # a clean one: nothing of this test is left


def saved(broker: Child, one: Party) -> None:
    """Have mosquitto write its store now, which it does by itself each half minute."""
    store = broker.directory / "mosquitto.db"
    before = store.stat().st_mtime_ns if store.exists() else 0
    broker.signal(signal.SIGUSR1)
    if broker.setup.durable:
        assert one.turn(lambda: store.exists() and store.stat().st_mtime_ns > before)


def killed(broker: Child, seat: Seat) -> set[bytes]:
    """Kill a broker that has fifty messages for a collector who is away; return which of them it still has."""
    assert seat.reader is not None
    with Party(seat, seat.reader, clean=False) as reader:
        assert reader.hears(seat.topic("+", "up/+"))
    with Party(seat, seat.one) as one:
        for number in range(50):
            assert one.says(seat.topic(seat.one.name, "up/kill"), b"k%d" % number) == ""
        if broker.program == "mosquitto":
            saved(broker, one)
    before = broker.pid
    broker.kill()
    broker.start()
    assert broker.pid != before
    with Party(seat, seat.reader, clean=False) as reader:
        reader.turn(lambda: len(reader.heard) >= 50, 10)
        found = {body for _, body, _ in reader.heard}
    with Party(seat, seat.reader):
        pass  # a clean one: nothing of this test is left
    return found


def test_what_was_taken_survives_a_kill(running: Engine, seat: Seat):
    """Killed with -9 after it said yes, it still has what waits for the collector.

    Of mosquitto that is what its last writing found: what came since is sent again, since nobody lets go of a reading
    because a broker has it (tests/chaos, tests/storm).
    """
    assert killed(running.broker, seat) >= {b"k%d" % number for number in range(50)}


def test_a_broker_that_keeps_nothing_would_not_pass():
    """The twin: the same mosquitto without its disk has lost all of it."""
    site, held = site_for_all()
    with site.broker("forgetful", durable=False) as broker:
        target = Target(host="127.0.0.1", port=broker.setup.port, fleet=FLEET, plain=(), web=())
        with Seat(target, identity(site.device("anna")), None, identity(site.service("one"))) as seat:
            assert killed(broker, seat) == set()
    held.cleanup()


def test_the_agents_own_link_works(running: Engine, seat: Seat):
    """The courier of a real device connects, whichever MQTT the engine speaks, publishes and hears its policy."""
    listener = Remembering()
    link = running.site.link("cleo", running.broker.setup.port, listener)
    assert drive([link], lambda: link.connected, 20), listener.states
    assert seat.reader is not None
    with Party(seat, seat.reader) as reader:
        assert reader.hears(seat.topic("+", "up/+"))
        assert link.publish(1, "up/comfort", b"sealed")
        assert drive([link], lambda: bool(listener.answers))
        assert reader.turn(lambda: reader.got(b"sealed"))
        assert reader.says(seat.topic("cleo", "policy"), b"signed") == ""
    assert drive([link], lambda: ("policy", b"signed") in listener.arrivals)
    link.close()


def test_the_fleets_own_collector_works(running: Engine, seat: Seat):
    """The collector connects, whichever MQTT the engine speaks, and is given what devices send."""
    site = running.site
    if not (site.fleet.safe.directory / "recipient-one.key").exists():
        add_recipient(site.fleet, "one")
    said: list[str] = []
    home = site.service("one")
    store = Store(site.directory / f"{running.broker.directory.name}.db")
    collector = Collector(FLEET, "one", site.fleet.recipient_key("one"), store, said.append)
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, "127.0.0.1", running.broker.setup.port, context, SERVICE + "one")
    assert until(lambda: line.connected, lambda: line.turn(0.05)), line.cause
    with Party(seat, seat.one) as one:
        assert one.says(seat.topic("anna", "up/comfort"), b"no record") == ""
        assert until(lambda: collector.tally.refused > 0, lambda: line.turn(0.05))  # it came, and is no record of ours
    line.close()
    store.close()


def test_who_counts_no_more_is_thrown_out_and_stays_out(running: Engine, seat: Seat):
    """A live session ends without a restart, its neighbour's does not, and the certificate is refused from then on."""
    lost = identity(running.site.device("dora"))
    before = running.broker.pid
    with Party(seat, lost) as dora, Party(seat, seat.one) as anna:
        assert dora.up
        assert anna.up
        running.out("dora")
        assert until(lambda: not dora.up, lambda: (dora.turn(lambda: False, 0.1), anna.turn(lambda: False, 0.1)), 30)
        assert anna.alive()
    assert running.broker.pid == before
    try:
        with Party(seat, lost) as dora:
            dora.settle()
            assert not dora.up
    except OSError:
        pass  # refused already by TLS


def test_the_programs_are_there():
    """What is missing on this machine is named, not skipped."""
    assert [name for name in ("mosquitto", "nats-server", "epmd") if not shutil.which(name)] == []
