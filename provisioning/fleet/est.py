"""What travels between a device and the enrolment server (RFC 7030, FORMAT.md 7): read strictly, written exactly."""

import base64
import binascii
import re
from collections.abc import Iterable

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import pkcs7

from agent.core.cose import key_id, sign1
from agent.core.errors import BadInput
from provisioning.fleet.authority import MOST_CSR

REQUEST = "application/pkcs10"
CERTIFICATES = "application/pkcs7-mime; smime-type=certs-only"
TIME = "application/cose"
LIST = "application/pkix-crl"
TIME_FORM = "privet time 1"
MOST_BODY = 2 * MOST_CSR  # bytes: base64 and its line ends
NONCE = re.compile(r"[0-9a-f]{64}")
BOOT = re.compile(r"(0|[1-9][0-9]{0,9})\.([0-9a-f]{32})")


def read_request(body: bytes, kind: str) -> bytes:
    """Return the DER of a PKCS #10 that came in base64; BadInput says what came instead."""
    if kind.partition(";")[0].strip().lower() != REQUEST:
        raise BadInput(f"a certificate request is sent as {REQUEST}; set that Content-Type")
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("this certificate request is no base64; send PKCS #10 (DER) in base64") from None
    if not der:
        raise BadInput("there is no certificate request; send PKCS #10 (DER) in base64")
    return der


def read_receipt(body: bytes, kind: str) -> bytes:
    """Return a receipt of erasure as it came; what it says is judged at the desk."""
    if kind.partition(";")[0].strip().lower() != TIME:
        raise BadInput(f"a receipt of erasure is sent as {TIME}; set that Content-Type")
    return body


def certs_only(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as RFC 7030 sends them: a PKCS #7 that holds nothing else, in base64."""
    return base64.encodebytes(pkcs7.serialize_certificates(list(certificates), serialization.Encoding.DER))


def read_login(header: str) -> tuple[str, bytes]:
    """Return device and token of HTTP Basic; BadInput when there is none or it is odd."""
    scheme, _, coded = header.partition(" ")
    try:
        device, colon, token = base64.b64decode(coded.strip(), validate=True).decode().partition(":")
        opened = bytes.fromhex(token)
    except (binascii.Error, ValueError):
        device, colon, opened = "", "", b""
    if scheme.lower() != "basic" or not colon or not device or not opened:
        raise BadInput("a device names itself by HTTP Basic, its id and its token in hex; send them")
    return device, opened


def read_boot(header: str) -> tuple[int | None, bytes]:
    """Return the count of a device's starts and the random of this one, where it tells them: `17.<32 hex>`."""
    if not header:
        return None, b""
    found = BOOT.fullmatch(header)
    if found is None:
        raise BadInput("Privet-Boot is a count, a point and 32 hex digits; send it like that or not at all")
    return int(found[1]), bytes.fromhex(found[2])


def signed_time(nonce: str, now: int, key: Ed25519PrivateKey) -> bytes:
    """Return the time, signed over the nonce of whoever asked."""
    if NONCE.fullmatch(nonce) is None:
        raise BadInput("the nonce is 64 hex digits; send a fresh one")
    payload = cbor2.dumps([TIME_FORM, bytes.fromhex(nonce), now])
    return sign1(payload, key_id(key.public_key().public_bytes_raw()), key.sign)
