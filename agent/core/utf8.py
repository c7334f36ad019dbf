"""UTF-8, strictly and alike on both runtimes: MicroPython itself lets surrogates and overlong forms by."""

from .errors import BadInput


def encode_text(text: str) -> bytes:
    """Return the UTF-8 of a text, or BadInput: half a surrogate pair has none."""
    raw = None
    try:
        raw = text.encode()
    except ValueError:
        pass
    if raw is None or (not NATIVE and not is_utf8(raw)):
        raise BadInput("this text holds half a character; correct it")
    return raw


def decode_text(raw: bytes) -> str:
    """Return the text of UTF-8, or BadInput."""
    if NATIVE or is_utf8(raw):
        try:
            return str(raw, "utf-8")
        except ValueError:
            pass
    raise BadInput("this text is not UTF-8; send UTF-8")


def is_utf8(raw: bytes) -> bool:
    """Say whether bytes are well-formed UTF-8 (Unicode standard, table 3-7)."""
    at = 0
    while at < len(raw):
        first = raw[at]
        more = 0 if first < 0x80 else 1 if 0xC2 <= first < 0xE0 else 2 if 0xE0 <= first < 0xF0 else 3
        if more == 3 and not 0xF0 <= first <= 0xF4:
            return False
        tail = raw[at + 1 : at + 1 + more]
        low = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        high = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if len(tail) < more or (more and not low <= tail[0] <= high):
            return False
        for byte in tail[1:]:
            if byte & 0xC0 != 0x80:
                return False
        at += 1 + more
    return True


def _is_strict() -> bool:
    """Say whether this runtime refuses ill-formed UTF-8 by itself."""
    try:
        str(b"\xed\xa0\x80", "utf-8")
    except ValueError:
        return True
    return False


NATIVE = _is_strict()
