"""Servers that misbehave: certificates with one thing wrong each, and brokers that say what no broker should."""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.fleet.identity import Fleet
from tests.courier.rig import plain

CONNACK_5 = bytes.fromhex("20030000 00")
CONNACK_4 = bytes.fromhex("20020000")
BAD_VERSION_4 = bytes.fromhex("20020001")  # what a broker of 3.1.1 says to MQTT 5
Script = Callable[[socket.socket], None]


def certificate(
    directory: Path,
    fleet: Fleet,
    *,
    names: tuple[str, ...] = ("localhost", "127.0.0.1"),
    start: int = -1,
    end: int = 1,
    self_signed: bool = False,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> ssl.SSLContext:
    """Return the TLS context of a server whose certificate is this fleet's and right, but for what is asked (days)."""
    issuer, issuer_key = fleet.issuer("server-ca")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=subject if self_signed else issuer.subject, subject_name=subject, public_key=key.public_key()
    )
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now + timedelta(days=start)).not_valid_after(now + timedelta(days=end))
    signer = key if self_signed else issuer_key
    for extension, critical in (
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        (x509.ExtendedKeyUsage([usage]), False),
        (x509.SubjectAlternativeName([_general(name) for name in names]), False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    made = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    chain, held = directory / "server.pem", directory / "server.key"
    chain.write_bytes(made if self_signed else made + fleet.safe.read("server-ca.pem"))
    held.write_bytes(plain(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, held)
    return context


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a server speak TLS 1.1 and nothing newer."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def _general(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


class Server:
    """What happened at a server: connections, completed TLS greetings, first packets."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self.greetings = 0


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve one connection after the other on loopback: TLS when there is a context, then the script."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server = Server(listener.getsockname()[1])
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(listener, server, script, context, over))
        thread.start()
        try:
            yield server
        finally:
            over.set()
            thread.join()


def _serve(
    listener: socket.socket, server: Server, script: Script, context: ssl.SSLContext | None, over: threading.Event
) -> None:
    while not over.is_set():
        try:
            accepted, _ = listener.accept()
        except TimeoutError:
            continue
        server.connections += 1
        accepted.settimeout(3)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with accepted, contextlib.suppress(OSError):
            if context is None:
                script(accepted)
                continue
            with context.wrap_socket(accepted, server_side=True) as secure:
                server.greetings += 1
                script(secure)


def quiet(_link: socket.socket) -> None:
    """Hang up at once."""


def packet(link: socket.socket) -> bytes:
    """Read one MQTT packet of less than 128 bytes of content; empty when the other side hung up."""
    head = link.recv(2)
    if len(head) < 2:
        return b""
    content = b""
    while len(content) < head[1]:
        content += link.recv(head[1] - len(content)) or b"\0" * (head[1] - len(content))
    return head + content


def greet(link: socket.socket) -> int:
    """Answer CONNECT and SUBSCRIBE as a healthy broker; return the version of MQTT that was spoken (4 or 5)."""
    version = packet(link)[8]
    link.sendall(CONNACK_5 if version == 5 else CONNACK_4)
    subscribe = packet(link)
    answer = subscribe[2:4] + (b"\0" if version == 5 else b"") + b"\1\1"
    link.sendall(bytes([0x90, len(answer)]) + answer)
    return version


def only_older(link: socket.socket) -> None:
    """Be a broker of MQTT 3.1.1 that hangs up on anything newer."""
    first = packet(link)
    if first[8] != 4:
        return
    link.sendall(CONNACK_4)
    subscribe = packet(link)
    link.sendall(b"\x90\x04" + subscribe[2:4] + b"\1\1")
    while (publish := packet(link)) and publish[0] >> 4 == 3:
        topic = int.from_bytes(publish[2:4], "big")
        link.sendall(b"\x40\x02" + publish[4 + topic : 6 + topic])


def says_no_to_newer(link: socket.socket) -> None:
    """Be a broker of MQTT 3.1.1 that says so in its own tongue."""
    first = packet(link)
    if first[8] != 4:
        link.sendall(BAD_VERSION_4)
        return
    link.sendall(CONNACK_4)
    subscribe = packet(link)
    link.sendall(b"\x90\x04" + subscribe[2:4] + b"\1\1")
    packet(link)


def flood(link: socket.socket, sent: int = 96 << 20) -> None:
    """Greet, announce a message of 256 MiB, and pour (at most `sent` bytes of) it out."""
    greet(link)
    time.sleep(0.2)  # let the client measure itself first
    link.sendall(bytes.fromhex("30ffffff7f") + b"\0\1t" + b"x" * 1000)
    chunk = b"x" * (1 << 20)
    for _ in range(sent >> 20):
        link.sendall(chunk)
