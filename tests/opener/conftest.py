"""A fleet with its broker, a device that seals, the owner's own broker, and an opener between."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from agent.courier import trust
from provisioning.broker.mosquitto import Broker
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.opener.own import Login, OwnBroker
from provisioning.opener.place import own_place
from provisioning.opener.run import Memory, Opener, Outlets
from tests.collector.device import Sender
from tests.courier.rig import FLEET, Site
from tests.opener.home import Neighbour, OwnMosquitto


def connected(own: OwnMosquitto, site: Site, login: Login | None = None) -> OwnBroker:
    """Return the connection to the owner's broker."""
    place = own_place("127.0.0.1", own.port, None, ("", 0), site.fleet.trust_anchor())
    return OwnBroker(place, login, "privet-opener-home")


class House:
    """What a test moves: the device `sends`, the opener `turns`; everything of the opener is made anew by `open`."""

    def __init__(self, site: Site, directory: Path, fleet_broker: Broker, own: OwnMosquitto) -> None:
        self.site, self.directory, self.fleet_broker, self.own = site, directory, fleet_broker, own
        self.sender = Sender([("home", site.fleet.recipient_public("home"))], boot=1)
        self.said: list[str] = []
        self.acknowledged: list[tuple[str, bytes]] = []
        self.pages = directory / "pages"
        self.pages.mkdir()
        self._opened: list[Callable[[], None]] = []
        self.device = self._client("r7k2")

    def _client(self, name: str) -> Client:
        home = self.site.device(name)
        client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        client.tls_set_context(trust.verified(home / "ca.pem", home / "cert.pem", home / "key.pem"))
        client.on_message = lambda _c, _u, m: self.acknowledged.append((m.topic, bytes(m.payload)))
        client.connect("127.0.0.1", self.fleet_broker.setup.port)
        client.subscribe(f"privet/1/{FLEET}/{name}/ack", 1)
        client.loop_start()
        return client

    def sends(self, *messages: tuple[str, bytes]) -> None:
        """Publish sealed records; the fleet's broker has them when this returns."""
        for topic, payload in messages:
            self.device.publish(topic, payload, 1).wait_for_publish(10)

    def open(self, *names: str, login: Login | None = None) -> Opener:
        """Start the opener anew, over what it kept."""
        self.closes()
        fleet, home = self.site.fleet, self.site.service("one")
        store = Store(self.directory / "opener" / "store.db")
        self.collector = Collector(FLEET, "home", fleet.recipient_key("home"), store, self.said.append)
        context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
        self.line = Line(self.collector, "127.0.0.1", self.fleet_broker.setup.port, context, "service.one")
        fleets = ("127.0.0.1", self.fleet_broker.setup.port)
        place = own_place("127.0.0.1", self.own.port, None, fleets, fleet.trust_anchor())
        broker = OwnBroker(place, login, "privet-opener-home")
        self.memory = Memory(self.directory / "opener")
        self._opened = [self.line.close, broker.close, store.close, self.memory.close]
        self.opener = Opener(self.collector, Outlets(FLEET, names, broker, self.pages), self.memory, self.said.append)
        self.turns(lambda: self.line.connected)
        return self.opener

    def turns(self, until: Callable[[], bool]) -> None:
        """Let the opener work until something is so."""
        for _ in range(600):
            if until():
                return
            self.line.turn(0 if self.opener.turn() else 0.05)
        raise AssertionError(self.said)

    def released(self) -> int:
        """Return up to which record the device was told that all is stored."""
        return self.sender.released(list(self.acknowledged))

    def closes(self) -> None:
        """End the opener."""
        for end in self._opened:
            end()
        self._opened = []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Give a fleet with a recipient at home."""
    made = Site(tmp_path_factory.mktemp("site"))
    made.fleet.add_recipient("home")
    return made


@pytest.fixture
def house(site: Site, tmp_path: Path) -> Iterator[House]:
    """Give a house with both brokers running."""
    with site.broker(tmp_path.name) as fleets, OwnMosquitto(tmp_path / "own") as own:
        made = House(site, tmp_path, fleets, own)
        yield made
        made.closes()
        made.device.disconnect()
        made.device.loop_stop()


@pytest.fixture
def neighbour(house: House) -> Iterator[Neighbour]:
    """Give a neighbour that listens before anything happens."""
    made = Neighbour(house.own.port)
    yield made
    made.close()
