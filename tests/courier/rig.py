"""A small site for the network tests: a fleet, its broker, devices with identities, a listener that remembers."""

import selectors
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.courier import trust
from agent.courier.link import Link, Pace, Trusted
from agent.courier.session import Place
from provisioning.broker.mosquitto import Broker, Setup, free_port
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file

FLEET = "meadow"
QUICK = Pace(keepalive=1, slack=0, first=20, most=200)


def request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the certificate request a device makes with its key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as an open PEM."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Site:
    """A fleet in a directory of its own, and the identities it gave out."""

    def __init__(self, directory: Path | None = None) -> None:
        self.held = None if directory else tempfile.TemporaryDirectory(prefix="privet-site-")
        self.directory = directory or Path(str(self.held.name if self.held else ""))
        self.fleet = Fleet.create(self.directory / "fleet", FLEET)

    def device(self, name: str) -> Path:
        """Make an identity as a device has it: a directory with ca.pem, cert.pem and key.pem."""
        home = self.directory / f"home-{name}"
        if not home.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            whole_file(home / "ca.pem", self.fleet.trust_anchor())
            whole_file(home / "cert.pem", self.fleet.sign_csr(request(key), name, 30))
            whole_file(home / "key.pem", plain(key))
        return home

    def service(self, name: str) -> Path:
        """Make the identity of a collector."""
        home = self.directory / f"service-{name}"
        if not home.exists():
            made = self.fleet.service(name)
            whole_file(home / "ca.pem", self.fleet.trust_anchor())
            whole_file(home / "cert.pem", made.certificate)
            whole_file(home / "key.pem", made.key)
        return home

    def broker(self, name: str, durable: bool = True, names: Iterable[str] = ("localhost", "127.0.0.1")) -> Broker:
        """Return a broker that is not started yet."""
        setup = Setup(fleet=FLEET, address="127.0.0.1", port=free_port(), collectors=("one", "two"), durable=durable)
        return Broker(self.directory / name, setup, self.fleet.server(list(names)), self.fleet.client_anchors())

    def link(
        self, name: str, port: int, listener: "Remembering", pace: Pace = QUICK, host: str = "127.0.0.1",
        others: Iterable[int] = (),
    ) -> Link:  # fmt: skip
        """Return a link of a device, to one broker or to others on their ports too."""
        home = self.device(name)
        first, *more = (Place(host=host, port=one, fleet=FLEET, device=name) for one in (port, *others))
        return Link(first, trusting(home), listener, pace, more)


def trusting(home: Path) -> Trusted:
    """Return what a link asks for its TLS context."""
    return lambda: trust.verified(home / "ca.pem", home / "cert.pem", home / "key.pem")


class Remembering:
    """A listener that keeps all it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.arrivals: list[tuple[str, bytes]] = []
        self.states: list[tuple[str, str]] = []

    def sent(self, message: int, cause: str) -> None:
        """Keep an answer."""
        self.answers.append((message, cause))

    def received(self, kind: str, payload: bytes) -> None:
        """Keep an arrival."""
        self.arrivals.append((kind, payload))

    def state(self, word: str, cause: str) -> None:
        """Keep a change of state."""
        self.states.append((word, cause))


def drive(links: Iterable[Link], until: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Run links in one loop until something holds or the time is over; say whether it held."""
    links = list(links)
    end = time.monotonic() + seconds
    while not until():
        left = end - time.monotonic()
        if left <= 0:
            return False
        with selectors.DefaultSelector() as selector:
            for link in links:
                for descriptor, events in link.sockets():
                    selector.register(descriptor, events)
            selector.select(max(0.0, min(left, *(link.timeout() for link in links))))
        for link in links:
            link.step()
    return True
