"""The engines of the broker contract, each with the same few things that can be asked of it."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from provisioning.broker import mosquitto, nats, rabbitmq
from provisioning.broker.child import Child, Setup, free_port
from provisioning.broker.watch import Watch
from provisioning.fleet.revocation import crl, revoke
from tests.courier.rig import FLEET, Site


class Engine:
    """A broker of one kind for a fleet; `out` lets it know that a device counts no more."""

    def __init__(self, site: Site, broker: Child, out: Callable[[str], None], limits: dict[str, str]) -> None:
        self.site, self.broker, self.out, self.limits = site, broker, out, limits


def site_for_all() -> tuple[Site, tempfile.TemporaryDirectory[str]]:
    """Return a fleet in a directory that every engine's user can enter."""
    held = tempfile.TemporaryDirectory(prefix="privet-engine-")
    Path(held.name).chmod(0o711)
    return Site(Path(held.name)), held


def engine(kind: str, site: Site, devices: Iterable[str]) -> Engine:
    """Return an engine of a kind, not started yet; these devices belong to the fleet."""
    setup = Setup(fleet=FLEET, address="127.0.0.1", port=free_port(), collectors=("one",), durable=True)
    credential = site.fleet.server(["localhost", "127.0.0.1"])
    folder, anchors = site.directory / kind, site.fleet.client_anchors()
    there = set(devices)
    if kind == "mosquitto":
        crls, begins = crl(site.fleet)
        broker = mosquitto.Broker(folder, setup, credential, anchors, crls)

        def revoked(name: str) -> None:
            watch = Watch(site.fleet, broker, "127.0.0.1", begins)
            revoke(site.fleet, [(site.device(name) / "cert.pem").read_bytes()])
            watch.turn()

        return Engine(site, broker, revoked, {})
    other = {"nats": nats, "rabbitmq": rabbitmq}[kind]
    listed: nats.Broker | rabbitmq.Broker = other.Broker(folder, setup, credential, anchors, there)

    def left_out(name: str) -> None:
        there.discard(name)
        listed.admit(there)

    return Engine(site, listed, left_out, other.LIMITS)
