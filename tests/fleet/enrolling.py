"""What the enrolment tests share: a fleet's desk without a network, devices with keys, a clock that tests move."""

import asyncio
import base64
import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from provisioning.fleet.authority import PEM, plain
from provisioning.fleet.desk import RULES, Asked, Desk, Outcome
from provisioning.fleet.entrance import Entrance
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Planned, Registry
from provisioning.fleet.safe import whole_file
from provisioning.fleet.server import Enrolment
from provisioning.fleet.serving import Serving, serve

DAY = 86400
HOST = "127.0.0.1"
Answer = tuple[int, dict[str, str], bytes]
KIND = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
DER = serialization.Encoding.DER


class Clock:
    """Today, until a test says otherwise."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self) -> float:
        return time.time() + self.ahead


def key() -> ec.EllipticCurvePrivateKey:
    """Return a device's key."""
    return ec.generate_private_key(ec.SECP256R1())


def request(private: ec.EllipticCurvePrivateKey, name: str = "whoever") -> bytes:
    """Return a request (DER) for a key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateSigningRequestBuilder().subject_name(subject).sign(private, hashes.SHA256()).public_bytes(DER)
    )


def asked(private: ec.EllipticCurvePrivateKey, boots: int | None = None, boot: bytes = b"") -> Asked:
    """Return what a device asks with a key."""
    return Asked(key=private.public_key(), boots=boots, boot=boot)


class Office:
    """A fleet with its registry, asked without a network."""

    def __init__(self, folder: Path, place: str = "", fleet: Fleet | None = None) -> None:
        self.clock = Clock()
        self.fleet = fleet or Fleet.create(folder / "fleet", "meadow")
        self.registry = Registry(self.fleet, place, self.clock)

    def planned(self, count: int = 1) -> list[Planned]:
        """Plan devices."""
        return self.registry.batch(count)[1]

    def at_desk(self, work: Callable[[Desk], Outcome]) -> Outcome:
        """Ask the desk in a transaction of its own."""
        with self.registry.act() as (connection, book):
            return work(Desk(self.fleet, connection, book, self.registry.now(), RULES))

    def claim(self, one: Planned, what: Asked) -> Outcome:
        """Come with a token."""
        hashed = hashlib.sha256(one.token).digest()
        return self.at_desk(lambda desk: desk.claim(one.device, hashed, what))

    def renew(self, shown: bytes, what: Asked) -> Outcome:
        """Come with a certificate."""
        return self.at_desk(lambda desk: desk.renew(shown, what))

    def contact(self, shown: bytes) -> Outcome:
        """Use a certificate."""
        return self.at_desk(lambda desk: desk.contact(shown))

    def state(self, device: str) -> str:
        """Return a device's state."""
        return str(self.registry.shown(device)[0].state)


class Served:
    """The enrolment server of an office, on a loopback port of its own, in a thread."""

    def __init__(self, office: Office, door: type[Entrance] = Entrance, **bounds: float) -> None:
        self.office = office
        self.told: list[str] = []
        self._bounds, self._door = bounds, door
        self._ready, self._thread = threading.Event(), threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.serving = Serving(Enrolment(self.office.registry, self.told.append), ["127.0.0.1", "localhost"], HOST, 0)
        self.serving.door = self._door
        for name, value in self._bounds.items():
            setattr(self.serving if name == "hour" else self.serving.bounds, name, value)
        await serve(self.serving, self._over, self._ready.set)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.serving.port

    def context(self, home: Path | None = None) -> ssl.SSLContext:
        """Return the TLS of a device, with its certificate where it has one."""
        made = ssl.create_default_context(cadata=self.office.fleet.trust_anchor().decode())
        if home is not None:
            made.load_cert_chain(home / "cert.pem", home / "key.pem")
        return made

    def link(self) -> ssl.SSLSocket:
        """Connect, without asking anything."""
        plain = socket.create_connection((HOST, self.port), 30)
        try:
            return self.context().wrap_socket(plain, server_hostname=HOST)
        except BaseException:
            plain.close()
            raise

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        head: dict[str, str] | None = None,
        home: Path | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask once; return status, head and body."""
        link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context(home))
        try:
            link.request(method, "/.well-known/est/" + path, body, head or {})
            answer = link.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            link.close()

    def enrol(
        self, one: Planned, private: ec.EllipticCurvePrivateKey, **head: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Come with a token, as the device does."""
        return self.ask("POST", "simpleenroll", base64.b64encode(request(private)), {**login(one), **KIND, **head})

    def at_home(self, folder: Path, private: ec.EllipticCurvePrivateKey, answer: bytes) -> Path:
        """Lay a certificate and its key into files; return their folder."""
        chain = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer))
        whole_file(folder / "cert.pem", b"".join(one.public_bytes(PEM) for one in chain))
        whole_file(folder / "key.pem", plain(private))
        return folder


def login(one: Planned) -> dict[str, str]:
    """Return the head by which a device names itself."""
    pair = base64.b64encode(f"{one.device}:{one.token.hex()}".encode()).decode()
    return {"Authorization": "Basic " + pair}
