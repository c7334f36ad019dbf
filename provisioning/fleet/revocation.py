"""Certificates that count no more: the fleet's list of them, and the CRL by which a broker knows it.

The list is `revoked.json` in the fleet's directory. Whoever revokes adds to it; a running `privet-fleet broker up` sees
that, signs a fresh CRL of both authorities, lets its broker read it and ends the live sessions of the revoked names.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.core.errors import BadInput, Missing
from agent.core.record import Record
from provisioning.fleet.identity import Fleet

LIST = "revoked.json"
MOST_LIST = 64 << 20  # bytes: each renewal adds the certificate before, until that has ended
ISSUERS = ("device-ca", "service-ca")
LIVES = timedelta(days=7)  # a CRL older than this makes a broker refuse everybody: it is renewed long before
EARLIER = timedelta(hours=1)  # clocks differ
PEM = serialization.Encoding.PEM


class Revoked(Record):
    """A certificate that counts no more: serial, name, issuer, since when, and when it would have ended anyway."""

    __slots__ = ("at", "issuer", "name", "serial", "until")
    serial: int
    name: str
    issuer: str
    at: int
    until: int


def revoked(fleet: Fleet) -> tuple[Revoked, ...]:
    """Return the list, oldest first; BadInput when it is damaged: a broker must not take that for an empty one."""
    try:
        rows = json.loads(fleet.safe.read(LIST, MOST_LIST))
        found = tuple(
            Revoked(
                serial=int(row["serial"], 16),
                name=str(row["name"]),
                issuer=str(row["issuer"]),
                at=int(row["at"]),
                until=int(row["until"]),
            )
            for row in (rows if isinstance(rows, list) else [rows])
        )
    except Missing:
        return ()
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{fleet.safe.directory / LIST} is damaged; restore it from your copy") from None
    if any(one.issuer not in ISSUERS for one in found):
        raise BadInput(f"{fleet.safe.directory / LIST} names an authority that is none; restore it from your copy")
    return found


def revoke(fleet: Fleet, certificates: Iterable[bytes]) -> tuple[Revoked, ...]:
    """List certificates (PEM; the first of each counts); return what is new. BadInput for one that is not ours."""
    fresh = {(one.issuer, one.serial): one for one in (read_certificate(fleet, pem) for pem in certificates)}
    return list_by_hand(fleet, fresh.values())


def list_by_hand(fleet: Fleet, certificates: Iterable[Revoked]) -> tuple[Revoked, ...]:
    """List certificates for good: what a person revoked is not taken out when the registry publishes its own."""
    known = {(one.issuer, one.serial) for one in revoked(fleet)}
    fresh = tuple(one for one in certificates if (one.issuer, one.serial) not in known)
    if fresh:
        listed = json.loads(fleet.safe.read(LIST, MOST_LIST)) if known else []
        rows = [
            {"serial": f"{one.serial:x}", "name": one.name, "issuer": one.issuer, "at": one.at, "until": one.until,
             "hand": True}
            for one in fresh
        ]  # fmt: skip
        fleet.safe.write(LIST, json.dumps([*listed, *rows], indent=1).encode() + b"\n")
    return fresh


def crl(fleet: Fleet, after: datetime | None = None) -> tuple[bytes, datetime]:
    """Return the CRLs of both authorities (PEM), and when they begin: always later than `after`, the one before.

    Of two lists OpenSSL believes the one that began later, and their clock counts whole seconds.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    begins = max(now - EARLIER, after + timedelta(seconds=1)) if after else now - EARLIER
    return b"".join(one_crl(fleet, label, begins, now).public_bytes(PEM) for label in ISSUERS), begins


def one_crl(fleet: Fleet, label: str, begins: datetime, now: datetime) -> x509.CertificateRevocationList:
    """Return the CRL of one authority; its key alone is needed."""
    authority = x509.load_pem_x509_certificate(fleet.safe.read(f"{label}.pem"))
    key = cast("ec.EllipticCurvePrivateKey", fleet.safe.keys(label)[0])
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(begins).next_update(now + LIVES)
    for one in revoked(fleet):
        if one.issuer == label and one.until > (now - LIVES).timestamp():  # what has ended need not be listed
            since = datetime.fromtimestamp(one.at, UTC)
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(since).build()
            builder = builder.add_revoked_certificate(entry)
    known_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(known_by, critical=False)
    builder = builder.add_extension(x509.CRLNumber(int(begins.timestamp())), critical=False)
    return builder.sign(key, hashes.SHA256())


def read_certificate(fleet: Fleet, pem: bytes) -> Revoked:
    """Read the first certificate (PEM) as one that counts no more from now on; BadInput for one that is not ours."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        name = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except (ValueError, IndexError):
        raise BadInput("this is no certificate with a name; give the PEM file of the one to revoke") from None
    for label in ISSUERS:
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(fleet.safe.read(f"{label}.pem")))
        except Exception:  # noqa: BLE001, S112 - cryptography raises by kind of key; any of them says: not this one
            continue
        now = int(datetime.now(UTC).timestamp())
        until = int(certificate.not_valid_after_utc.timestamp())
        return Revoked(serial=certificate.serial_number, name=name, issuer=label, at=now, until=until)
    raise BadInput(f"the certificate of {name[:80]!r} was not made by this fleet; give one that was")
