"""How the fleet's certificates are built: authorities, leaves, and the constraints that keep each to its own trade.

Pure: keys and names come in, certificates go out; where the keys lie is the business of `safe`.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.core.errors import BadInput, Refused
from agent.core.record import Record

MOST_CSR = 16 * 1024  # bytes
MOST_DAYS = 1827  # five years, for a leaf
EARLIER = timedelta(hours=1)  # a certificate is valid a little before it is made: clocks differ
PEM = serialization.Encoding.PEM
# What a server authority may name unless the operator says more: this machine, and what no public name or address is.
PRIVATE = (
    "localhost", "local", "internal", "home.arpa", "lan", "test", "example", "127.0.0.0/8", "10.0.0.0/8",
    "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
    "::1/128", "fc00::/7", "fe80::/10", "2001:db8::/32",
)  # fmt: skip
ANYWHERE = (x509.DNSName(""), *(x509.IPAddress(ipaddress.ip_network(every)) for every in ("0.0.0.0/0", "::/0")))


class Office(Record):
    """What an authority below the root may do: the uses of its leaves, and the names they may bear or must not."""

    __slots__ = ("forbidden", "permitted", "usages")
    usages: tuple[x509.ObjectIdentifier, ...]
    permitted: tuple[x509.GeneralName, ...]
    forbidden: tuple[x509.GeneralName, ...]


def offices(names: Iterable[str]) -> dict[str, Office]:
    """Return the three authorities below the root; `names` are the hosts and networks that servers may bear.

    A device's certificate bears no host name and no address, so that even one signed with the wrong use by a stolen
    device authority is no server; and as OpenSSL takes a common name with a dot for a host name, no collector either.
    """
    clients = (ExtendedKeyUsageOID.CLIENT_AUTH,)
    return {
        "device-ca": Office(usages=clients, permitted=(), forbidden=ANYWHERE),
        "service-ca": Office(usages=clients, permitted=(), forbidden=()),
        "server-ca": Office(
            usages=(ExtendedKeyUsageOID.SERVER_AUTH,), permitted=tuple(subtree(name) for name in names), forbidden=()
        ),
    }


def subtree(name: str) -> x509.GeneralName:
    """Return a constraint: a host name with all below it, an address, or a network such as 10.0.0.0/8."""
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        pass
    if "/" in name or not name.strip("."):
        raise BadInput(f"{name!r} is neither a host name nor a network; write it like example.org or 10.0.0.0/8")
    return host(name)


def host(name: str) -> x509.GeneralName:
    """Return a host name or address as it stands in a certificate."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        made = x509.DNSName(name)
    except ValueError:
        made = None
    if made is None or not name.strip("."):
        raise BadInput(f"{name!r} is neither a host name nor an address; correct it")
    return made


def within(issuer: x509.Certificate, name: x509.GeneralName) -> bool:
    """Say whether an authority may name this host or address."""
    try:
        tree = issuer.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return True
    for one in tree:
        if isinstance(one, x509.DNSName) and isinstance(name, x509.DNSName):
            wanted, most = name.value.lower(), one.value.lower()
            if wanted == most or wanted.endswith("." + most):
                return True
        elif isinstance(one, x509.IPAddress) and isinstance(name, x509.IPAddress):
            inside = ipaddress.ip_network(str(one.value)), ipaddress.ip_address(str(name.value))
            if inside[1] in inside[0]:
                return True
    return False


def allowed(issuer: x509.Certificate) -> list[str]:
    """Return the hosts and networks an authority may name."""
    try:
        tree = issuer.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return []
    return [str(one.value) for one in tree if isinstance(one, x509.DNSName | x509.IPAddress)]


def named(name: str) -> x509.Name:
    """Return a distinguished name of a common name alone."""
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise BadInput(f"{name!r} is too long or empty for a certificate; use 1 to 64 characters") from None


def plain(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PEM without a passphrase, for a service that starts unattended."""
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def root(name: str, key: ec.EllipticCurvePrivateKey, years: int) -> x509.Certificate:
    """Make the certificate of the root, signed by itself."""
    start = datetime.now(UTC) - EARLIER
    builder = _builder(named(name), key.public_key(), named(name), key.public_key(), start, start + _years(years))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
    return builder.add_extension(_usage(signs=True), critical=True).sign(key, hashes.SHA256())


def authority(
    name: str,
    key: ec.EllipticCurvePublicKey,
    top: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    office: Office,
    years: int,
) -> x509.Certificate:
    """Make the certificate of an authority below the root; none may stand below it. It never outlives the root."""
    above, root_key = top
    start = datetime.now(UTC) - EARLIER
    end = min(start + _years(years), above.not_valid_after_utc)
    builder = _builder(named(name), key, above.subject, root_key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(list(office.usages)), critical=True)
    if office.permitted or office.forbidden:
        bounds = x509.NameConstraints(list(office.permitted) or None, list(office.forbidden) or None)
        # RFC 5280 wants them critical. A Pico's TLS (Mbed TLS) knows none and would refuse the whole chain then, while
        # OpenSSL heeds them either way; the web's own authorities were allowed the same for that reason.
        builder = builder.add_extension(bounds, critical=False)
    return builder.sign(root_key, hashes.SHA256())


def leaf(
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    key: ec.EllipticCurvePublicKey,
    name: str,
    also: Sequence[x509.GeneralName],
    usage: x509.ObjectIdentifier | tuple[x509.ObjectIdentifier, ...],
    days: int,
) -> x509.Certificate:
    """Make the certificate of a device, a service or a server; it never outlives its authority."""
    if not 1 <= days <= MOST_DAYS:
        raise BadInput(f"a certificate lives 1 to {MOST_DAYS} days, not {days}; choose a number of them")
    above, issuer_key = issuer
    start = datetime.now(UTC) - EARLIER
    end = min(start + EARLIER + timedelta(days=days), above.not_valid_after_utc)
    if end <= datetime.now(UTC):
        raise Refused(f"the authority {above.subject.rfc4514_string()} has ended; renew it with the root's key")
    builder = _builder(named(name), key, above.subject, issuer_key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    usages = usage if isinstance(usage, tuple) else (usage,)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(list(also)), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a request (PEM or DER) that proves its possession; BadInput or Refused."""
    if len(csr) > MOST_CSR:
        raise BadInput(f"this certificate request is larger than {MOST_CSR} bytes; send the request alone")
    try:
        request = x509.load_pem_x509_csr(csr) if csr[:1] == b"-" else x509.load_der_x509_csr(csr)
        key = request.public_key()
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion):
        raise BadInput("this certificate request cannot be read; make it anew on the device") from None
    if not genuine:
        raise BadInput("the signature of this certificate request does not fit its key; make it anew on the device")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise Refused("this certificate request brings a key other than P-256 or P-384; make one of these")
    return key


def _years(years: int) -> timedelta:
    return timedelta(days=365 * years + years // 4)


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
