"""An authority of the tests' own, root over intermediate over server, of which any one thing can be made wrong."""

import contextlib
import datetime as dt
import ipaddress
import ssl
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
Key = Any  # ec, rsa or dsa


def new_key(kind: str = "p256") -> Key:
    """Make a key of a kind."""
    if kind.startswith("rsa"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return rsa.generate_private_key(65537, int(kind[3:]))
    if kind == "dsa":
        return dsa.generate_private_key(2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p192": ec.SECP192R1(), "k256": ec.SECP256K1()}[kind])


class Made:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate, self.key = certificate, key

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(PEM)


def named(text: str) -> x509.Name:
    """Return a name of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def usage(*words: str) -> x509.KeyUsage:
    """Return a key usage of these words."""
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{word: word in words for word in every})


def alternatives(names: Sequence[str | x509.GeneralName]) -> x509.SubjectAlternativeName:
    """Return names as a certificate bears them: addresses as addresses, others as names of hosts."""
    made: list[x509.GeneralName] = []
    for name in names:
        if isinstance(name, x509.GeneralName):
            made.append(name)
            continue
        with contextlib.suppress(ValueError):
            made.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        made.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(made)


def sign(
    issuer: Made | None,
    name: str,
    *,
    ca: bool,
    key: str = "p256",
    days: tuple[int, int] = (-1, 30),
    path: int | None = None,
    digest: Any = None,
    drop: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    names: Sequence[str | x509.GeneralName] = (),
    purpose: x509.ObjectIdentifier | None = None,
    said_issuer: str = "",
    more: tuple[tuple[x509.ExtensionType, bool], ...] = (),
) -> Made:
    """Sign a certificate; `drop` leaves out one of its extensions: basic, subject, authority, usage."""
    own = new_key(key)
    signer = issuer.key if issuer else own
    issued = named(said_issuer) if said_issuer else issuer.certificate.subject if issuer else named(name)
    builder = x509.CertificateBuilder(issuer_name=issued, subject_name=named(name), public_key=own.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW + dt.timedelta(days=days[0]))
    builder = builder.not_valid_after(NOW + dt.timedelta(days=days[1]))
    parts: list[tuple[str, x509.ExtensionType, bool]] = [
        ("basic", x509.BasicConstraints(ca=ca, path_length=path), True),
        ("subject", x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
        ("authority", x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False),
        ("usage", usage(*(words or (("key_cert_sign", "crl_sign") if ca else ("digital_signature",)))), True),
    ]
    if names:
        parts.append(("names", alternatives(names), False))
    if purpose is not None:
        parts.append(("purpose", x509.ExtendedKeyUsage([purpose]), False))
    for label, extension, critical in parts:
        if label not in drop:
            builder = builder.add_extension(extension, critical=critical)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    return Made(builder.sign(signer, digest or hashes.SHA256()), own)


class Tree:
    """Root, intermediate, and a server's certificate; `root` is what a device trusts."""

    def __init__(self, **between: Any) -> None:
        self.root = sign(None, "root of the tests", ca=True)
        self.between = sign(self.root, "between", ca=between.pop("ca", True), **{"path": 0, **between})

    def leaf(self, **wrong: Any) -> Made:
        """Sign a server's certificate, right but for what is asked."""
        right: dict[str, Any] = {"ca": False, "names": ("localhost", "127.0.0.1")}
        given = {**right, "purpose": ExtendedKeyUsageOID.SERVER_AUTH, **wrong}
        return sign(given.pop("issuer", self.between), given.pop("name", "localhost"), **given)


def showing(folder: Path, key: Key, chain: Sequence[bytes]) -> ssl.SSLContext:
    """Return the context of a server that shows a chain, whatever it is worth, and takes any client."""
    (folder / "shown.pem").write_bytes(b"".join(chain))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "shown.key").write_bytes(key.private_bytes(PEM, form, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:eNULL:@SECLEVEL=0")
    context.load_cert_chain(folder / "shown.pem", folder / "shown.key")
    return context
