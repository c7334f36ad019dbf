"""Who a fleet is: the key that signs policies, the authorities that name devices and services, the recipients' keys.

    root (offline)  ──► device CA   names devices: client certificates only
                    └─► service CA  names brokers (server) and collectors (client)

A device trusts the root for its broker; the extended key usage written into both authorities and into every leaf keeps
a device's certificate from ever posing as a broker. The root's key is needed by `create` alone: move `root.key` away.
"""

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.core.errors import BadInput, Refused
from agent.core.record import Record
from provisioning.fleet.safe import Passphrase, Safe

NAME = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)  # fleets, devices, services, recipients: safe in topics and URNs
SERVICE = "service."  # begins the common name of a collector: no device can be called so, a dot is no part of NAME
MOST_CSR = 16 * 1024  # bytes
MOST_DAYS = 1827  # five years, for a leaf
EARLIER = timedelta(hours=1)  # a certificate is valid a little before it is made: clocks differ
PEM = serialization.Encoding.PEM


class Credential(Record):
    """A certificate with its chain and its private key, all PEM; the key is never shown."""

    __slots__ = ("certificate", "key")
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Credential(certificate=…, key=<secret>)"


class Fleet:
    """One fleet, held in one directory (see `safe.Safe`)."""

    def __init__(self, safe: Safe) -> None:
        self.safe = safe
        self.name = safe.facts.get("name", "")
        self._issuers: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}

    def __repr__(self) -> str:
        return f"Fleet({self.name!r})"

    @classmethod
    def create(cls, directory: Path, name: str, passphrase: Passphrase | None = None, years: int = 20) -> "Fleet":
        """Make a fleet with all its authorities and its signing key; Refused when the directory holds one already."""
        checked(name, "fleet")
        safe = Safe.create(directory, passphrase)
        root_key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(f"{name} root")
        root = _authority(subject, root_key.public_key(), subject, root_key, years, None, 1)
        safe.keep("root", root_key)
        safe.write("root.pem", root.public_bytes(PEM))
        for label, usages in (
            ("device-ca", [ExtendedKeyUsageOID.CLIENT_AUTH]),
            ("service-ca", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        ):
            key = ec.generate_private_key(ec.SECP256R1())
            made = _authority(_named(f"{name} {label}"), key.public_key(), subject, root_key, years, usages, 0)
            safe.keep(label, key)
            safe.write(f"{label}.pem", made.public_bytes(PEM))
        safe.keep("signing", ed25519.Ed25519PrivateKey.generate())
        safe.seal(name=name)
        return cls(safe)

    @classmethod
    def open(cls, directory: Path, passphrase: Passphrase | None = None) -> "Fleet":
        """Open an existing fleet; Missing, Refused (rights, passphrase) or BadInput (damaged)."""
        fleet = cls(Safe.open(directory, passphrase))
        checked(fleet.name, "fleet")
        fleet.signing_key()  # a wrong passphrase is told now, not in the middle of a run
        return fleet

    def trust_anchor(self) -> bytes:
        """Return the root certificate (PEM): all a device or a collector needs to know its broker."""
        return self.safe.read("root.pem")

    def client_anchors(self) -> bytes:
        """Return the certificates (PEM) by which a broker knows devices and collectors."""
        return b"".join(self.safe.read(f"{label}.pem") for label in ("device-ca", "service-ca", "root"))

    def signing_key(self) -> ed25519.Ed25519PrivateKey:
        """Return the key that signs policies."""
        return cast("ed25519.Ed25519PrivateKey", self.safe.keys("signing")[0])

    def policy_key(self) -> bytes:
        """Return the 32 public bytes a device is flashed with to know its policies."""
        return self.signing_key().public_key().public_bytes_raw()

    def sign_csr(self, csr: bytes, device: str, days: int) -> bytes:
        """Return the device's client certificate followed by its CA (PEM); only the key is taken from the request.

        `csr` is PEM. The name in it does not count: `device` does. BadInput for a request that cannot be read or whose
        signature does not fit its key, Refused for a weak key.
        """
        checked(device, "device")
        key = _requested_key(csr)
        uri = x509.UniformResourceIdentifier(f"urn:privet:{self.name}:{device}")
        return self._leaf("device-ca", key, device, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def server(self, names: Sequence[str], days: int = 397) -> Credential:
        """Make a broker's key and certificate for these host names and addresses; the first is its common name."""
        if not names:
            raise BadInput("a broker needs at least one host name or address; name it")
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        chain = self._leaf("service-ca", key.public_key(), names[0], [_host(n) for n in names], usage, days)
        return Credential(certificate=chain, key=_plain(key))

    def service(self, name: str, days: int = 397) -> Credential:
        """Make a collector's key and client certificate; its common name is `service.<name>`."""
        checked(name, "service")
        key = ec.generate_private_key(ec.SECP256R1())
        uri = x509.UniformResourceIdentifier(f"urn:privet:{self.name}:{SERVICE}{name}")
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        chain = self._leaf("service-ca", key.public_key(), SERVICE + name, [uri], usage, days)
        return Credential(certificate=chain, key=_plain(key))

    def add_recipient(self, recipient: str) -> bytes:
        """Make the key pair telemetry is sealed to; return its public bytes (ML-KEM-768, then X25519: 1,216 bytes)."""
        checked(recipient, "recipient")
        if (self.safe.directory / f"recipient-{recipient}.key").exists():
            raise Refused(f"recipient {recipient} has a key already; choose another name")
        lattice, curve = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
        self.safe.keep(f"recipient-{recipient}", lattice, curve)
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def recipient_key(self, recipient: str) -> hpke.MLKEM768X25519PrivateKey:
        """Return a recipient's private key, for the collector that opens its telemetry; Missing when it has none."""
        return hpke.MLKEM768X25519PrivateKey(*self._halves(recipient))

    def recipient_public(self, recipient: str) -> bytes:
        """Return the public bytes of a recipient, as written into policies; Missing when it has none."""
        lattice, curve = self._halves(recipient)
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()

    def _halves(self, recipient: str) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        checked(recipient, "recipient")
        lattice, curve = self.safe.keys(f"recipient-{recipient}")
        return cast("mlkem.MLKEM768PrivateKey", lattice), cast("x25519.X25519PrivateKey", curve)

    def _issuer(self, label: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        if label not in self._issuers:
            certificate = x509.load_pem_x509_certificate(self.safe.read(f"{label}.pem"))
            self._issuers[label] = certificate, cast("ec.EllipticCurvePrivateKey", self.safe.keys(label)[0])
        return self._issuers[label]

    def _leaf(
        self,
        label: str,
        key: ec.EllipticCurvePublicKey,
        name: str,
        also: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        days: int,
    ) -> bytes:
        if not 1 <= days <= MOST_DAYS:
            raise BadInput(f"a certificate lives 1 to {MOST_DAYS} days, not {days}; choose a number of them")
        issuer, issuer_key = self._issuer(label)
        start = datetime.now(UTC) - EARLIER
        end = min(start + EARLIER + timedelta(days=days), issuer.not_valid_after_utc)
        builder = _builder(_named(name), key, issuer.subject, issuer_key.public_key(), start, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(list(also)), critical=False)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(PEM) + issuer.public_bytes(PEM)


def checked(name: str, what: str) -> str:
    """Return the name when it can stand in a topic, a file name and a certificate; BadInput else."""
    if NAME.fullmatch(name) is None:
        raise BadInput(f"{name!r} is no name for a {what}; use a-z, 0-9 and -, at most 63, no - at the ends")
    return name


def _requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    if len(csr) > MOST_CSR:
        raise BadInput(f"this certificate request is larger than {MOST_CSR} bytes; send the request alone")
    try:
        request = x509.load_pem_x509_csr(csr)
        key = request.public_key()
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise BadInput("this certificate request cannot be read; make it anew on the device") from None
    if not genuine:
        raise BadInput("the signature of this certificate request does not fit its key; make it anew on the device")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise Refused("this certificate request brings a key other than P-256 or P-384; make one of these")
    return key


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise BadInput(f"{name!r} is neither a host name nor an address; correct it") from None


def _named(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise BadInput(f"{name!r} is too long or empty for a certificate; use 1 to 64 characters") from None


def _plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePublicKey,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)


def _authority(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    years: int,
    usages: Sequence[x509.ObjectIdentifier] | None,
    below: int,
) -> x509.Certificate:
    """Make a CA certificate; `below` is how many further authorities may stand between it and a leaf."""
    start = datetime.now(UTC) - EARLIER
    builder = _builder(subject, key, issuer, issuer_key.public_key(), start, start + timedelta(days=365 * years))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(usages)), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())
