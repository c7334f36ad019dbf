"""Small records outside the sealed store: a mark, a digest and the content, so that a torn or altered one shows."""

import hashlib

from . import cbor
from .errors import PrivetError, Tampered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 16 << 20


def framed(mark: str, table: "dict[str, Any]") -> bytes:
    """Return the bytes of a record of a kind."""
    body = cbor.encode(table)
    head = b"PRIVET %s 1\n" % mark.encode()
    return head + hashlib.sha256(head + body).digest() + body


def unframed(mark: str, kept: bytes) -> "dict[str, Any]":
    """Return what a record holds, or Tampered when it is torn, altered or of another kind."""
    head = b"PRIVET %s 1\n" % mark.encode()
    start = len(head) + 32
    body = kept[start:]
    if kept[: len(head)] != head or hashlib.sha256(head + body).digest() != kept[len(head) : start]:
        raise Tampered("the record %s is damaged; keep a copy of /var/lib/privet and ask for help" % mark.lower())
    try:
        table = cbor.decode(body, LIMIT)
    except PrivetError:
        table = None
    if type(table) is not dict:
        raise Tampered("the record %s makes no sense; update Privet" % mark.lower())
    return table
