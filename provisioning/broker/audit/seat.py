"""The seat from which doors are tried: a broker's place, and the identities of those who try."""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.core.errors import BadInput, Missing
from agent.core.record import Record
from provisioning.fleet.safe import whole_file

PEM = serialization.Encoding.PEM
PLAIN_PORTS = (1883,)
WEB_PORTS = (8080, 8083, 9001, 15675)


class Closing(ssl.SSLSocket):
    """Closes itself when the greeting fails; paho forgets to."""

    def do_handshake(self, block: bool = False) -> None:
        """Greet; a greeting that failed leaves nothing open."""
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


class Identity(Record):
    """Who tries: the name in the certificate, and the directory with ca.pem, cert.pem and key.pem."""

    __slots__ = ("home", "name")
    home: Path
    name: str


class Target(Record):
    """The broker: host, TLS port, the fleet whose topics it carries, and other ports that are tried without TLS."""

    __slots__ = ("fleet", "host", "plain", "port", "web")
    host: str
    port: int
    fleet: str
    plain: tuple[int, ...]
    web: tuple[int, ...]


class Seat:
    """`one` tries doors; `other`, where there is one, is another device, who notices what gets through.

    `reader` may read what devices send (a collector), `gone` was revoked. `with Seat(…) as seat:` removes what it made.
    """

    def __init__(
        self, target: Target, one: Identity, other: Identity | None = None, reader: Identity | None = None,
        gone: Identity | None = None,
    ) -> None:  # fmt: skip
        self.target = target
        self.one, self.other, self.reader, self.gone = one, other, reader, gone
        self.patience = 11.0  # seconds for what a broker tells now and then; most tell it every ten
        self.five = True  # the broker speaks MQTT 5; else 3.1.1
        self._folder = tempfile.TemporaryDirectory(prefix="privet-audit-")
        self._stranger: Identity | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._folder.cleanup()

    def topic(self, device: str, leaf: str) -> str:
        """Return a topic of a device."""
        return f"privet/1/{self.target.fleet}/{device}/{leaf}"

    def context(self, who: Identity | None) -> ssl.SSLContext:
        """Return a TLS context that knows the broker by the fleet's anchor; with the certificate of `who`, or none.

        What is sent to a broker that is not the right one proves nothing: the right one is always asked for.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = Closing
        try:
            context.load_verify_locations(cafile=str(self.one.home / "ca.pem"))
            if who is not None:
                context.load_cert_chain(str(who.home / "cert.pem"), str(who.home / "key.pem"))
        except FileNotFoundError:
            raise Missing(f"{(who or self.one).home} lacks ca.pem, cert.pem or key.pem; enrol the device") from None
        except ssl.SSLError:
            raise BadInput(f"what is in {(who or self.one).home} is damaged; enrol the device again") from None
        return context

    def stranger(self) -> Identity:
        """Return an identity of the same name, made by an authority of its own that nobody has heard of."""
        if self._stranger is None:
            home = Path(self._folder.name) / "stranger"
            chain, key = certified(self.one.name)
            whole_file(home / "cert.pem", chain)
            whole_file(home / "key.pem", key)
            self._stranger = Identity(name=self.one.name, home=home)
        return self._stranger


def identity(home: Path) -> Identity:
    """Read an identity as a device has it; Missing or BadInput."""
    try:
        certificate = x509.load_pem_x509_certificate((home / "cert.pem").read_bytes())
        name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except OSError as error:
        raise Missing(f"{home}/cert.pem cannot be read ({error.strerror}); give the directory of an identity") from None
    except (ValueError, IndexError):
        raise BadInput(f"{home}/cert.pem is no certificate with a name; enrol the device again") from None
    return Identity(name=name, home=home)


def certified(name: str) -> tuple[bytes, bytes]:
    """Make an authority and a client certificate of it; return the chain and the key (PEM)."""
    top, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)

    def begun(who: x509.Name, public: ec.EllipticCurvePublicKey, authority: bool) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(subject_name=who, issuer_name=issuer, public_key=public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        return builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)

    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = begun(subject, key.public_key(), False).add_extension(usage, critical=False).sign(top, hashes.SHA256())
    root = begun(issuer, top.public_key(), True).sign(top, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8
    return (
        leaf.public_bytes(PEM) + root.public_bytes(PEM),
        key.private_bytes(PEM, form, serialization.NoEncryption()),
    )
