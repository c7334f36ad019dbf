"""Strict deterministic CBOR (RFC 8949 section 4.2.1): one value has one encoding, and no other is read.

Used on the device instead of cbor2: it runs on MicroPython, costs the guard a few kilobytes, and refuses what cbor2
forgives (longer forms, unsorted or doubled keys, bytes after the end). Known kinds: None, True, False, whole numbers
from -2^64 to 2^64-1, bytes, text, list or tuple (read back as list), dict with text or whole-number keys, Tag.
Fractions do not exist here: telemetry writes them as decimal fractions (tag 4). Everything else is BadInput.
"""

from .errors import BadInput
from .record import Record
from .utf8 import decode_text, encode_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEPTH = 16  # arrays, maps and tags within each other
LIMIT = 1 << 20  # bytes
CUT = "these bytes end inside a CBOR item; get the whole of it"
DEEP = "this CBOR is nested deeper than %d; flatten it"
KEYS = "a CBOR map has text or whole-number keys here; use those"
CONSTANTS = {0xF4: False, 0xF5: True, 0xF6: None}
LEAST = (24, 1 << 8, 1 << 16, 1 << 32)  # the smallest number that needs 1, 2, 4 or 8 bytes of its own


class Tag(Record):
    """A tagged item (RFC 8949 section 3.4); the tag numbers in use are in provisioning/FORMAT.md."""

    __slots__ = ("tag", "value")
    tag: int
    value: "Any"


def encode(value: "Any", depth: int = DEPTH) -> bytes:
    """Return the one encoding of a value; BadInput for a kind CBOR is not used for here (the value is not shown)."""
    chunks: "list[bytes]" = []
    _write(chunks, value, depth, depth)
    return b"".join(chunks)


def decode(encoded: bytes, limit: int = LIMIT, depth: int = DEPTH) -> "Any":
    """Return the value of bytes that are exactly one deterministic item of at most `limit` bytes, else BadInput."""
    if type(encoded) is not bytes:
        raise BadInput("CBOR is read from bytes, not from %s; pass the bytes" % type(encoded).__name__)
    if len(encoded) > limit:
        raise BadInput("this CBOR has %d bytes where at most %d are read; send less" % (len(encoded), limit))
    value, at = _read(encoded, 0, depth, depth)
    if at != len(encoded):
        raise BadInput("%d bytes follow the end of this CBOR item; remove them" % (len(encoded) - at))
    return value


def head(major: int, number: int) -> bytes:
    """Return the shortest start of an item: its major type (0-7) and its number or length."""
    if number < 24:
        return bytes((major << 5 | number,))
    if number < 1 << 8:
        return bytes((major << 5 | 24, number))
    if number < 1 << 16:
        return bytes((major << 5 | 25,)) + number.to_bytes(2, "big")
    if number < 1 << 32:
        return bytes((major << 5 | 26,)) + number.to_bytes(4, "big")
    if number < 1 << 64:
        return bytes((major << 5 | 27,)) + number.to_bytes(8, "big")
    raise BadInput("a whole number in CBOR has at most 64 bits; use a smaller one")


def _write(chunks: "list[bytes]", value: "Any", depth: int, most: int) -> None:
    kind = type(value)
    if kind is int:
        chunks.append(head(0, value) if value >= 0 else head(1, -1 - value))
    elif kind is str:
        raw = encode_text(value)
        chunks.append(head(3, len(raw)))
        chunks.append(raw)
    elif kind is bytes:
        chunks.append(head(2, len(value)))
        chunks.append(value)
    elif value is None or kind is bool:
        chunks.append(b"\xf6" if value is None else b"\xf5" if value else b"\xf4")
    elif kind is float:
        raise BadInput("CBOR is written without fractions here; use whole numbers or a decimal fraction (tag 4)")
    elif kind is not list and kind is not tuple and kind is not dict and kind is not Tag:
        raise BadInput("CBOR has no form for %s here; use numbers, text, bytes, lists and maps" % kind.__name__)
    elif depth < 1:
        raise BadInput(DEEP % most)
    elif kind is dict:
        _write_map(chunks, value, depth, most)
    elif kind is Tag:
        if type(value.tag) is not int or value.tag < 0:
            raise BadInput("a CBOR tag is a whole number from 0; correct it")
        chunks.append(head(6, value.tag))
        _write(chunks, value.value, depth - 1, most)
    else:
        chunks.append(head(4, len(value)))
        for item in value:
            _write(chunks, item, depth - 1, most)


def _write_map(chunks: "list[bytes]", value: "dict[Any, Any]", depth: int, most: int) -> None:
    """Write the pairs in the bytewise order of their encoded keys (not shortest key first, as RFC 7049 had it)."""
    pairs = []
    for key in value:
        if type(key) is not str and type(key) is not int:
            raise BadInput(KEYS)
        inner: "list[bytes]" = []
        _write(inner, value[key], depth - 1, most)
        pairs.append((encode(key), b"".join(inner)))
    chunks.append(head(5, len(pairs)))
    for key_bytes, item in sorted(pairs):
        chunks.append(key_bytes)
        chunks.append(item)


def _number(encoded: bytes, at: int) -> "tuple[int, int]":
    """Read the number that belongs to the start byte at `at`; return it and the place after it."""
    small = encoded[at] & 31
    if small < 24:
        return small, at + 1
    if small > 27:
        raise BadInput("this CBOR uses an open length; write the length first")
    end = at + 1 + (1 << (small - 24))
    if end > len(encoded):
        raise BadInput(CUT)
    number = int.from_bytes(encoded[at + 1 : end], "big")
    if number < LEAST[small - 24]:
        raise BadInput("this CBOR writes a number longer than needed; write the shortest form")
    return number, end


def _read(encoded: bytes, at: int, depth: int, most: int) -> "tuple[Any, int]":
    if at >= len(encoded):
        raise BadInput(CUT)
    first = encoded[at]
    major = first >> 5
    if major == 7:
        if first not in CONSTANTS:
            raise BadInput("this CBOR holds a fraction or an unknown constant; send whole numbers, true, false or null")
        return CONSTANTS[first], at + 1
    number, at = _number(encoded, at)
    if major < 2:
        return (number if major == 0 else -1 - number), at
    if major < 4:
        if number > len(encoded) - at:
            raise BadInput(CUT)
        raw = encoded[at : at + number]
        return (raw if major == 2 else decode_text(raw)), at + number
    if depth < 1:
        raise BadInput(DEEP % most)
    if major == 6:
        value, at = _read(encoded, at, depth - 1, most)
        return Tag(tag=number, value=value), at
    if number > len(encoded) - at:  # each member has at least one byte: refuse before looping
        raise BadInput(CUT)
    if major == 5:
        return _read_map(encoded, at, number, depth - 1, most)
    items = []
    for _ in range(number):
        value, at = _read(encoded, at, depth - 1, most)
        items.append(value)
    return items, at


def _read_map(encoded: bytes, at: int, count: int, depth: int, most: int) -> "tuple[dict[Any, Any], int]":
    result: "dict[Any, Any]" = {}
    last = b""
    for _ in range(count):
        start = at
        if start < len(encoded) and encoded[start] >> 5 not in (0, 1, 3):
            raise BadInput(KEYS)
        key, at = _read(encoded, start, 0, most)
        this = encoded[start:at]
        if this <= last:
            raise BadInput("the keys of this CBOR map are doubled or not in order; sort them by their bytes")
        last = this
        result[key], at = _read(encoded, at, depth, most)
    return result, at
