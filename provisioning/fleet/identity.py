"""Who a fleet is: the key that signs policies, the authorities that name devices and services, the recipients' keys.

    root (offline)  ──► device CA   names devices: clients, no host name and no address
                    ├─► service CA  names collectors: clients
                    └─► server CA   names brokers and enrolment servers, within the names it was made for

A device trusts the root for its servers; the extended key usage written into every authority and every leaf, and the
names an authority may give, keep a device's certificate from ever posing as a server. The root lies in a safe of its
own and signs these three: carry that directory away after `create`; `renew` alone needs it again.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.core.errors import BadInput, Missing, Refused
from agent.core.record import Record
from agent.core.secret import Secret
from provisioning.fleet import authority
from provisioning.fleet.authority import MOST_CSR, PEM, PRIVATE
from provisioning.fleet.safe import FACTS, Passphrase, Safe

__all__ = ["MOST_CSR", "ROOT", "SERVICE", "Credential", "Fleet", "checked"]
NAME = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)  # fleets, devices, services, recipients: safe in topics and URNs
SERVICE = "service."  # begins the common name of a collector: no device can be called so, a dot is no part of NAME
ROOT = "root"  # the directory of the root's own safe, until it is carried away
ROOT_YEARS, YEARS = 20, 3
Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


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
        self._issuers: dict[str, Issuer] = {}

    def __repr__(self) -> str:
        return f"Fleet({self.name!r})"

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str,
        passphrase: Passphrase | None = None,
        names: Sequence[str] = (),
        root: Path | None = None,
    ) -> "Fleet":
        """Make a fleet with all its keys; Refused when the directory, or that of its root, holds one already.

        `names` are hosts and networks its servers may bear besides private ones. `root` is where the root's safe is
        made, such as a stick; without, it lies in the fleet's directory until somebody carries it away.
        """
        checked(name, "fleet")
        wanted = authority.offices(dict.fromkeys((*PRIVATE, *names)))
        if root is not None and root.resolve() == directory.resolve():
            raise Refused(f"{root} is where the fleet is to be; give the root a directory of its own")
        safe = Safe.create(directory, passphrase)
        with safe.making():
            if root is None:  # what a half-made fleet left there counts for nothing
                (directory / ROOT / FACTS).unlink(missing_ok=True)
            apart = Safe.create(root or directory / ROOT, passphrase)
            with apart.making():
                _made(safe, apart, name, wanted)
        return cls(safe)

    @classmethod
    def open(cls, directory: Path, passphrase: Passphrase | None = None) -> "Fleet":
        """Open an existing fleet; Missing, Refused (rights, passphrase) or BadInput (damaged)."""
        fleet = cls(Safe.open(directory, passphrase))
        checked(fleet.name, "fleet")
        for key in (fleet.signing_key, fleet.ledger_key):  # a wrong passphrase is told now, not in the middle of a run
            with suppress(Missing):  # each machine has the keys that its work needs
                key()
                break
        return fleet

    def renew(self, root: Safe, names: Sequence[str] = ()) -> None:
        """Let the root sign the authorities' keys anew, for further years; servers may then bear `names` as well.

        The keys stay, so all that they have signed stays valid. Refused for the root of another fleet.
        """
        anchor = x509.load_pem_x509_certificate(root.read("root.pem"))
        if anchor.public_bytes(PEM) != self.trust_anchor():
            raise Refused(f"{root.directory} is the root of another fleet; give the one made with this fleet")
        top = anchor, cast("ec.EllipticCurvePrivateKey", root.keys("root")[0])
        known = authority.allowed(self.issuer("server-ca")[0])
        for label, office in authority.offices(dict.fromkeys((*known, *names))).items():
            before, key = self.issuer(label)
            made = authority.authority(f"{self.name} {label}", key.public_key(), top, office, YEARS)
            self.safe.write(f"{label}.pem", made.public_bytes(PEM))
            self.safe.write(f"{label}.{before.serial_number:x}.pem", before.public_bytes(PEM))
        self._issuers.clear()

    def trust_anchor(self) -> bytes:
        """Return the root certificate (PEM): all a device or a collector needs to know its broker."""
        return self.safe.read("root.pem")

    def client_anchors(self) -> bytes:
        """Return the certificates (PEM) by which a broker knows devices and collectors."""
        return b"".join(self.safe.read(f"{label}.pem") for label in ("device-ca", "service-ca", "root"))

    def issuer(self, label: str) -> Issuer:
        """Return the certificate and the key of an authority; Missing when they are kept elsewhere."""
        if label not in self._issuers:
            certificate = x509.load_pem_x509_certificate(self.safe.read(f"{label}.pem"))
            self._issuers[label] = certificate, cast("ec.EllipticCurvePrivateKey", self.safe.keys(label)[0])
        return self._issuers[label]

    def signing_key(self) -> ed25519.Ed25519PrivateKey:
        """Return the key that signs policies."""
        return cast("ed25519.Ed25519PrivateKey", self.safe.keys("signing")[0])

    def ledger_key(self) -> ed25519.Ed25519PrivateKey:
        """Return the key that signs the rows of the ledger."""
        return cast("ed25519.Ed25519PrivateKey", self.safe.keys("ledger")[0])

    def digest_key(self) -> bytes:
        """Return the 32 bytes under which the registry keeps digests of serial numbers."""
        secret = self.ledger_key().private_bytes_raw()
        return hashlib.blake2b(b"serials", key=secret, digest_size=32, person=b"privet registry").digest()

    def policy_key(self) -> bytes:
        """Return the 32 public bytes a device is flashed with to know its policies."""
        return self.signing_key().public_key().public_bytes_raw()

    def sign_csr(self, csr: bytes, device: str, days: int) -> bytes:
        """Return the device's client certificate followed by its CA (PEM); only the key is taken from the request.

        `csr` is PEM. The name in it does not count: `device` does. BadInput for a request that cannot be read or whose
        signature does not fit its key, Refused for a weak key.
        """
        key = authority.requested_key(csr)
        return self.device_leaf(key, device, days).public_bytes(PEM) + self.safe.read("device-ca.pem")

    def device_leaf(self, key: ec.EllipticCurvePublicKey, device: str, days: int) -> x509.Certificate:
        """Return a device's client certificate."""
        uri = x509.UniformResourceIdentifier(f"urn:privet:{self.name}:{checked(device, 'device')}")
        return authority.leaf(self.issuer("device-ca"), key, device, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def server(self, names: Sequence[str], days: int = 397) -> Credential:
        """Make a server's key and certificate for these hosts and addresses; Refused for one it may not bear."""
        if not names:
            raise BadInput("a broker needs at least one host name or address; name it")
        issuer = self.issuer("server-ca")
        hosts = [authority.host(name) for name in names]
        for name, one in zip(names, hosts, strict=True):
            if not authority.within(issuer[0], one):
                raise Refused(
                    f"the server authority may not name {name}; let the root allow it: "
                    f"privet-fleet authority renew --root DIRECTORY --server-name {name}"
                )
        # An address is no common name: OpenSSL takes it for a host name there, and no host of that name is allowed.
        common = next((one.value for one in hosts if isinstance(one, x509.DNSName) and len(one.value) <= 64), self.name)
        return self._credential(issuer, common, hosts, ExtendedKeyUsageOID.SERVER_AUTH, days)

    def service(self, name: str, days: int = 397) -> Credential:
        """Make a collector's key and client certificate; its common name is `service.<name>`."""
        uri = x509.UniformResourceIdentifier(f"urn:privet:{self.name}:{SERVICE}{checked(name, 'service')}")
        issuer, usage = self.issuer("service-ca"), ExtendedKeyUsageOID.CLIENT_AUTH
        return self._credential(issuer, SERVICE + name, [uri], usage, days)

    def sign_service(self, csr: bytes, name: str, days: int = 397) -> bytes:
        """Return the certificate of a collector that made its key itself, with the chain (PEM); `name` counts."""
        uri = x509.UniformResourceIdentifier(f"urn:privet:{self.name}:{SERVICE}{checked(name, 'service')}")
        issuer, usage = self.issuer("service-ca"), ExtendedKeyUsageOID.CLIENT_AUTH
        made = authority.leaf(issuer, authority.requested_key(csr), SERVICE + name, [uri], usage, days)
        return made.public_bytes(PEM) + issuer[0].public_bytes(PEM)

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

    def pseudonym_key(self, recipient: str) -> Secret:
        """Return the key of the pseudonyms under which a recipient hands readings on; it is drawn from its own."""
        _, curve = self._halves(recipient)
        return Secret(hmac.digest(curve.private_bytes_raw(), b"privet pseudonyms 1", "sha256"))

    def _halves(self, recipient: str) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        checked(recipient, "recipient")
        lattice, curve = self.safe.keys(f"recipient-{recipient}")
        return cast("mlkem.MLKEM768PrivateKey", lattice), cast("x25519.X25519PrivateKey", curve)

    @staticmethod
    def _credential(
        issuer: Issuer, name: str, also: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier, days: int
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.leaf(issuer, key.public_key(), name, also, usage, days)
        chain = made.public_bytes(PEM) + issuer[0].public_bytes(PEM)
        return Credential(certificate=chain, key=authority.plain(key))


def _made(safe: Safe, apart: Safe, name: str, wanted: Mapping[str, authority.Office]) -> None:
    """Make all the keys of a fleet: the root's apart, the others in its directory."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    anchor = authority.root(f"{name} root", root_key, ROOT_YEARS)
    apart.keep("root", root_key)
    apart.write("root.pem", anchor.public_bytes(PEM))
    safe.write("root.pem", anchor.public_bytes(PEM))
    for label, office in wanted.items():
        key = ec.generate_private_key(ec.SECP256R1())
        made = authority.authority(f"{name} {label}", key.public_key(), (anchor, root_key), office, YEARS)
        safe.keep(label, key)
        safe.write(f"{label}.pem", made.public_bytes(PEM))
    for label in ("signing", "ledger"):
        safe.keep(label, ed25519.Ed25519PrivateKey.generate())
    apart.seal(name=name)
    safe.seal(name=name)


def checked(name: str, what: str) -> str:
    """Return the name when it can stand in a topic, a file name and a certificate; BadInput else."""
    if NAME.fullmatch(name) is None:
        raise BadInput(f"{name[:80]!r} is no name for a {what}; use a-z, 0-9 and -, at most 63, no - at the ends")
    return name
