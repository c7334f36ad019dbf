"""Every way in which TLS with the broker can be wrong: refused, each with a sentence of its own."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.core.errors import BadInput
from agent.courier import trust
from agent.courier.link import Link
from agent.courier.session import Place
from provisioning.broker.mosquitto import Broker
from provisioning.fleet.identity import Fleet
from provisioning.fleet.safe import whole_file
from tests.courier import fake
from tests.courier.rig import FLEET, QUICK, Remembering, Site, drive, plain, request, trusting


def refusal(site: Site, port: int, host: str = "127.0.0.1", home: Path | None = None) -> str:
    """Try to connect; return the sentence with which that was given up."""
    listener = Remembering()
    place = Place(host=host, port=port, fleet=FLEET, device="matrix")
    link = Link(place, trusting(home or site.device("matrix")), listener, QUICK)
    assert drive([link], lambda: bool(listener.states))
    link.close()
    assert listener.states[0][0] == "offline"
    assert link.sessions == 0
    return listener.states[0][1]


def rogue(tmp_path: Path) -> ssl.SSLContext:
    """Return a server of a fleet of the same name that is not ours."""
    return fake.certificate(tmp_path, Fleet.create(tmp_path / "rogue", FLEET))


MATRIX: dict[str, tuple[str, str, Callable[[Path, Fleet], ssl.SSLContext]]] = {
    "wrong name": (trust.NAME, "localhost", lambda d, f: fake.certificate(d, f, names=("broker.example",))),
    "address not named": (trust.ADDRESS, "127.0.0.1", lambda d, f: fake.certificate(d, f, names=("localhost",))),
    "rogue authority": (trust.NOT_OURS, "127.0.0.1", lambda d, _f: rogue(d)),
    "expired": (trust.EXPIRED, "127.0.0.1", lambda d, f: fake.certificate(d, f, start=-3, end=-2)),
    "not yet valid": (trust.EARLY, "127.0.0.1", lambda d, f: fake.certificate(d, f, start=2, end=3)),
    "self-signed": (trust.SELF_SIGNED, "127.0.0.1", lambda d, f: fake.certificate(d, f, self_signed=True)),
    "a device posing as broker": (
        trust.PURPOSE,
        "127.0.0.1",
        lambda d, f: fake.certificate(d, f, usage=ExtendedKeyUsageOID.CLIENT_AUTH),
    ),
    "TLS 1.1": (trust.WEAK, "127.0.0.1", lambda d, f: fake.old(fake.certificate(d, f))),
}


@pytest.mark.parametrize("wrong", MATRIX)
def test_a_wrong_server_is_refused_with_its_own_sentence(site: Site, tmp_path: Path, wrong: str):
    """One thing wrong with the server's side: no session, no MQTT byte, and the sentence that names it."""
    sentence, host, make = MATRIX[wrong]
    said: list[bytes] = []
    with fake.serving(lambda link: said.append(link.recv(1)), make(tmp_path, site.fleet)) as server:
        assert refusal(site, server.port, host) == sentence
        assert server.connections >= 1
    assert not any(said)


def test_the_same_server_with_nothing_wrong_is_accepted(site: Site, tmp_path: Path):
    """The matrix' known-good twin: the refusals above are about the one fault, not about the server."""
    listener = Remembering()
    with fake.serving(lambda link: (fake.greet(link), link.recv(1)), fake.certificate(tmp_path, site.fleet)) as server:
        link = site.link("matrix", server.port, listener)
        assert drive([link], lambda: link.connected), listener.states
        link.close()


def test_a_port_without_tls_is_refused(site: Site):
    """A plaintext broker hangs up on the greeting, or answers in plain MQTT: both are told as what they are."""
    with fake.serving(lambda link: (link.recv(4096), None)[1]) as server:
        assert refusal(site, server.port) == trust.CLOSED
    with fake.serving(lambda link: link.sendall(fake.CONNACK_4 * 4 + link.recv(4096)[:0])) as server:
        assert refusal(site, server.port) == trust.NO_TLS


def test_nobody_there_and_no_name_are_told(site: Site):
    """A closed port and a name that cannot be resolved have sentences of their own."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert refusal(site, port) == trust.NOBODY
    assert refusal(site, port, host="nowhere.invalid") == trust.NO_NAME


def test_mosquitto_refuses_a_device_without_certificate(site: Site, broker: Broker):
    """Without a client certificate there is no session with our broker, and the device knows why."""
    home = site.device("matrix")
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.load_verify_locations(home / "ca.pem")
    bare.sslsocket_class = trust.Bounded
    listener = Remembering()
    place = Place(host="127.0.0.1", port=broker.setup.port, fleet=FLEET, device="matrix")
    link = Link(place, lambda: bare, listener, QUICK)
    assert drive([link], lambda: bool(listener.states))
    assert listener.states[0] == ("offline", trust.NO_CERTIFICATE)
    link.close()


def strange_home(site: Site, tmp_path: Path, chain: bytes, key: ec.EllipticCurvePrivateKey) -> Path:
    """Return a device's directory with a certificate from elsewhere and the right authority for the broker."""
    whole_file(tmp_path / "home" / "ca.pem", site.fleet.trust_anchor())
    whole_file(tmp_path / "home" / "cert.pem", chain)
    whole_file(tmp_path / "home" / "key.pem", plain(key))
    return tmp_path / "home"


def test_mosquitto_refuses_a_certificate_of_another_fleet(site: Site, broker: Broker, tmp_path: Path):
    """A client certificate of another authority, for the very same device name, is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    chain = Fleet.create(tmp_path / "other", FLEET).sign_csr(request(key), "matrix", 30)
    home = strange_home(site, tmp_path, chain, key)
    assert refusal(site, broker.setup.port, home=home) == trust.UNKNOWN_CERTIFICATE


def test_mosquitto_refuses_a_server_certificate_as_client(site: Site, broker: Broker, tmp_path: Path):
    """The broker's own kind of certificate does not make a client: each usage opens one door."""
    made = site.fleet.server(["matrix.example"])
    whole_file(tmp_path / "home" / "ca.pem", site.fleet.trust_anchor())
    whole_file(tmp_path / "home" / "cert.pem", made.certificate)
    whole_file(tmp_path / "home" / "key.pem", made.key)
    assert refusal(site, broker.setup.port, home=tmp_path / "home") == trust.BAD_CERTIFICATE


def test_mosquitto_speaks_no_old_tls_and_no_weak_cipher(site: Site, broker: Broker):
    """Our broker refuses TLS 1.1, and 1.2 without authenticated encryption."""
    home = site.device("matrix")
    for weaken in (fake.old, cbc_only):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(home / "ca.pem")
        context.load_cert_chain(home / "cert.pem", home / "key.pem")
        weaken(context)
        with socket.create_connection(("127.0.0.1", broker.setup.port), 3) as link, pytest.raises(ssl.SSLError):
            context.wrap_socket(link, server_hostname="localhost")


def cbc_only(context: ssl.SSLContext) -> ssl.SSLContext:
    """Leave a client TLS 1.2 with CBC ciphers."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA")
    return context


def test_every_fault_has_a_sentence_of_its_own():
    """No two rows of the matrix are told with the same words, and each says what to do next."""
    sentences = [sentence for sentence, _, _ in MATRIX.values()]
    sentences += [trust.NO_TLS, trust.CLOSED, trust.NO_CERTIFICATE, trust.UNKNOWN_CERTIFICATE, trust.NOBODY]
    assert len(set(sentences)) == len(sentences)
    assert all("; " in sentence for sentence in sentences)


def test_damaged_identity_files_are_named(site: Site, tmp_path: Path):
    """Files that are no certificates, or a key that belongs to another certificate, are refused by name."""
    key = ec.generate_private_key(ec.SECP256R1())
    good = site.device("matrix")
    home = strange_home(site, tmp_path, (good / "cert.pem").read_bytes(), key)
    with pytest.raises(BadInput, match="do not fit"):
        trust.verified(home / "ca.pem", home / "cert.pem", home / "key.pem")
    (home / "ca.pem").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"ca\.pem"):
        trust.verified(home / "ca.pem", good / "cert.pem", good / "key.pem")
