"""Clusters of three nodes, where one broker ends: the same devices and the same collector, and a node that dies."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.core.errors import Failed
from provisioning.broker import nats
from provisioning.broker.child import Child, Member, Setup, free_port
from provisioning.broker.rabbitmq_cluster import ClusterNode
from provisioning.collector.line import Line, trusted
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import SERVICE
from provisioning.fleet.nodes import node
from provisioning.fleet.safe import whole_file
from provisioning.profile.issue import add_recipient
from tests.courier.rig import FLEET, Site
from tests.fleet.site.engines import site_for_all
from tests.fleet.site.sending import Device, crowd, drained
from tests.fleet.site.test_workers import judge

NAMES = tuple(f"d{n}" for n in range(6))
RECORDS = 60  # of each device
HERE = "127.0.0.1"


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a fleet with a recipient."""
    made, held = site_for_all()
    add_recipient(made.fleet, "one")
    yield made
    held.cleanup()


def nats_cluster(site: Site) -> list[Child]:
    """Return three nodes of NATS, not started yet."""
    routes = tuple(f"{HERE}:{free_port()}" for _ in range(3))
    made: list[Child] = []
    for number in (1, 2, 3):
        setup = Setup(fleet=FLEET, address=HERE, port=free_port(), collectors=("one",), durable=True)
        member, credential = Member(number=number, nodes=routes), site.fleet.server([HERE])
        folder, anchors = site.directory / f"node-{number}", site.fleet.client_anchors()
        made.append(nats.Broker(folder, setup, credential, anchors, NAMES, member, node(site.fleet, [HERE])))
    return made


def rabbitmq_cluster(site: Site) -> list[Child]:
    """Return three nodes of RabbitMQ, not started yet; all of them on this machine by the name it has for itself."""
    made: list[Child] = []
    first: ClusterNode | None = None
    for number in (1, 2, 3):
        setup = Setup(fleet=FLEET, address=HERE, port=free_port(), collectors=("one",), durable=True)
        member = Member(number=number, nodes=("localhost",) * 3)
        folder, anchors, credential = (
            site.directory / f"node-{number}",
            site.fleet.client_anchors(),
            site.fleet.server([HERE]),
        )
        one = ClusterNode(folder, setup, credential, anchors, NAMES, member, node(site.fleet, ["localhost"]), first)
        first = first or one
        made.append(one)
    return made


def a_node_dies(site: Site, nodes: list[Child], devices: list[Device], line: Line) -> list[tuple[str, int]]:
    """Drain the devices while the node most of them began with is killed; return what the store holds then."""
    store = line.collector.store
    look: Callable[[], None] = judge(store, devices)
    at: list[int] = []

    def meanwhile() -> None:
        line.turn(0.01)
        look()
        if not at and store.last() > len(devices) * RECORDS // 3:
            at.append(store.last())
            (one,) = [one for one in nodes if one.setup.port == line.place[1]]
            one.kill()  # the collector's own, and that of some devices

    assert drained(devices, meanwhile, 90), [
        (one.released, one.link.place.port, one.heard.states[-3:]) for one in devices
    ]
    assert at[0] < len(devices) * RECORDS
    (dead,) = [one for one in nodes if not one.alive]
    for one in nodes:
        if one.alive and isinstance(one, ClusterNode):  # what waits is on every node, not on one of them
            assert queues(one) == {"quorum"}
    assert line.place[1] != dead.setup.port
    assert all(one.link.place.port != dead.setup.port for one in devices)
    return [(one.place.device, one.seq) for one in store.records(kind=None)]


def queues(node: ClusterNode) -> set[str]:
    """Return the kinds of queues; a node that has just lost another one answers after a while."""
    end = time.monotonic() + 60
    while True:
        try:
            return set(node.control("list_queues", "--silent", "type").split())
        except Failed:
            if time.monotonic() > end:
                raise


@pytest.mark.parametrize("cluster", [nats_cluster, rabbitmq_cluster])
def test_a_node_is_killed_in_the_middle(site: Site, cluster: Callable[[Site], list[Child]]):
    """Devices and collector go on at another node: nothing is lost, nothing is there twice."""
    nodes = cluster(site)
    ports = [one.setup.port for one in nodes]
    home = site.service("one")
    store = Store(site.directory / "store.db")
    collector = Collector(FLEET, "one", site.fleet.recipient_key("one"), store, print)
    context = trusted(home / "ca.pem", home / "cert.pem", home / "key.pem")
    line = Line(collector, HERE, ports[0], context, SERVICE + "one", others=[(HERE, port) for port in ports[1:]])
    with ExitStack() as running:
        for one in nodes:
            running.enter_context(one)
        while not line.connected:
            line.turn(0.1)
        devices = crowd(site, NAMES, ports, RECORDS)
        rows = a_node_dies(site, nodes, devices, line)
        for device in devices:
            device.link.close()
        line.close()
    store.close()
    assert len(rows) == len(set(rows)) == len(NAMES) * (RECORDS + 1)


def joined(port: int, context: ssl.SSLContext) -> bool:
    """Say whether a route of NATS takes what this context shows."""
    with socket.create_connection((HERE, port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=HERE) as wire:
                return b"INFO" in wire.recv(4096)  # it tells of itself, to a node
        except OSError:
            return False


def shown(anchors: bytes, folder: Path, certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return a context that shows a certificate, and believes the nodes' authority."""
    whole_file(folder / "cert.pem", certificate)
    whole_file(folder / "key.pem", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=anchors.decode())
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_nobody_but_a_node_comes_in_by_a_route(site: Site):
    """A broker's own certificate, a collector's and a device's are refused there; a node's is not."""
    (one, *_) = nats_cluster(site)
    assert isinstance(one, nats.Broker)
    assert one.member is not None
    route = int(one.member.nodes[0].rpartition(":")[2])
    real, folder = node(site.fleet, [HERE]), site.directory / "shown"
    device = site.device("d0")
    server, service = site.fleet.server([HERE]), site.fleet.service("one")
    others = {
        "broker": (server.certificate, server.key),
        "collector": (service.certificate, service.key),
        "device": ((device / "cert.pem").read_bytes(), (device / "key.pem").read_bytes()),
    }
    with one:
        assert joined(route, shown(real.anchors, folder, real.certificate, real.key))
        for name, (certificate, key) in others.items():
            assert not joined(route, shown(real.anchors, folder, certificate, key)), name
