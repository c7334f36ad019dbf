"""The device's own certificate: asking for it, judging what an enrolment server gave, signing with its key.

Loaded by the vault's child, never by the guard (see `sealing`). A certificate counts when it is for our key, for our
name in our fleet, for clients, made by our fleet's authorities, and in force at the time the guard believes.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.core import cose
from agent.core.errors import BadInput, Tampered
from agent.core.secret import Secret
from agent.system import unsealing

MOST = 64 * 1024  # bytes of an answer
LINKS = 3  # authorities between a device and the root, at most
DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
NO_CERTIFICATE = "the enrolment server answered with something that holds no certificate; check who answers there"
OTHER_KEY = "the enrolment server sent a certificate for another key; check who answers there"
OTHER_NAME = "the enrolment server sent a certificate for another device; check who answers there"
OTHER_USE = "the enrolment server sent a certificate that is not made for a device; check who answers there"
OTHER_MAKER = (
    "the enrolment server sent a certificate that this fleet's authority did not make; check who answers there"
)
OTHER_TIME = "the enrolment server sent a certificate that is not in force now; check the server's clock"


def request(key: Secret, device: str) -> bytes:
    """Return the certificate request (PKCS #10, DER) of a device for its key."""
    if not 0 < len(device) <= 64:  # ub-common-name, RFC 5280 appendix A.1
        raise BadInput("a device id has 1 to 64 letters; correct the device's seed")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
    return (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(opened(key), hashes.SHA256()).public_bytes(DER)
    )


def fingerprint(key: Secret) -> bytes:
    """Return the sha256 of the public half (SubjectPublicKeyInfo)."""
    return hashlib.sha256(spki(opened(key).public_key())).digest()


def sign(key: Secret, payload: bytes) -> bytes:
    """Sign with the device's own key: a COSE_Sign1 with ES256."""
    private = opened(key)

    def by_device(content: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(content, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return cose.sign1(payload, cose.key_id(spki(private.public_key())), by_device, cose.ES256)


def certified(key: Secret, answer: bytes, device: str, fleet: str, anchors: bytes, now: int) -> list[Any]:
    """Return chain (PEM, the device's first), begin and end out of a PKCS #7 of certificates; BadInput says why not."""
    given = bag(answer)
    mine = [one for one in given if same_key(one, opened(key).public_key())]
    if not mine:
        raise BadInput(OTHER_KEY)
    leaf = mine[0]
    fits(leaf, device, fleet)
    chain = path(leaf, given, x509.load_pem_x509_certificates(anchors), datetime.fromtimestamp(now, UTC))
    pem = b"".join(one.public_bytes(PEM) for one in chain)
    return [pem, *life(leaf)]


def standing(key: Secret, chain: bytes) -> list[int]:
    """Return begin and end of a certificate that is kept; Tampered when it does not fit the key."""
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:
        leaf = None
    if leaf is None or not same_key(leaf, opened(key).public_key()):
        raise Tampered("the device's certificate is damaged or does not fit its key; write a new seed for this device")
    return life(leaf)


def opened(key: Secret) -> ec.EllipticCurvePrivateKey:
    """Read the device's key."""
    try:
        private = serialization.load_pem_private_key(key.reveal(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise BadInput("the device's key is damaged; write a new seed for this device")
    return private


def bag(answer: bytes) -> list[x509.Certificate]:
    """Take the certificates out of an answer."""
    try:
        return pkcs7.load_der_pkcs7_certificates(answer[:MOST])
    except (ValueError, UnsupportedAlgorithm):
        raise BadInput(NO_CERTIFICATE) from None


def fits(leaf: x509.Certificate, device: str, fleet: str) -> None:
    """Refuse a certificate for another device or another use."""
    names = [str(one.value) for one in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    try:
        also = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = also.get_values_for_type(x509.UniformResourceIdentifier)
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
        makes = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        raise BadInput(OTHER_USE) from None
    if names != [device] or uris != [f"urn:privet:{fleet}:{device}"]:
        raise BadInput(OTHER_NAME)
    if uses != {ExtendedKeyUsageOID.CLIENT_AUTH} or makes:
        raise BadInput(OTHER_USE)


def path(
    leaf: x509.Certificate, given: list[x509.Certificate], anchors: list[x509.Certificate], now: datetime
) -> list[x509.Certificate]:
    """Return the certificates from the device's up to the one below an anchor; each made by the next, all in force."""
    chain = [leaf]
    for _ in range(LINKS):
        if any(made_by(chain[-1], anchor) and in_force(anchor, now) for anchor in anchors):
            if not all(in_force(one, now) for one in chain):
                raise BadInput(OTHER_TIME)
            return chain
        above = [one for one in given if one not in chain and made_by(chain[-1], one)]
        if not above:
            break
        chain.append(above[0])
    raise BadInput(OTHER_MAKER)


def made_by(one: x509.Certificate, maker: x509.Certificate) -> bool:
    """Say whether a certificate was signed by an authority that may sign."""
    try:
        one.verify_directly_issued_by(maker)
        return bool(maker.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def in_force(one: x509.Certificate, now: datetime) -> bool:
    """Say whether a certificate counts at a time."""
    return one.not_valid_before_utc <= now <= one.not_valid_after_utc


def same_key(one: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    """Say whether a certificate is for a key."""
    try:
        found = one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    return isinstance(found, ec.EllipticCurvePublicKey) and spki(found) == spki(key)


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as certificates hold it."""
    return key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def life(leaf: x509.Certificate) -> list[int]:
    """Return when a certificate begins and ends."""
    return [int(leaf.not_valid_before_utc.timestamp()), int(leaf.not_valid_after_utc.timestamp())]


ACTS: dict[str, Callable[..., Any]] = {
    "request": request,
    "fingerprint": fingerprint,
    "sign": sign,
    "certified": certified,
    "standing": standing,
    "board_public": unsealing.public,
    "unseal_seed": unsealing.unseal,
}
