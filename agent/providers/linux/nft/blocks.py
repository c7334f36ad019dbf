"""Address blocks, read and spelled as Python's ipaddress does; that module would cost each guard 0.3 MB for good."""

import socket


def block(text: object) -> tuple[int, str, int]:
    """Return version, first address and length of a block like 10.0.0.0/8; ValueError when it is none."""
    address, slash, length = text.partition("/") if isinstance(text, str) else ("", "", "")
    version = 6 if ":" in address else 4
    try:
        raw = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, address)
    except (OSError, ValueError) as error:
        raise ValueError(f"{text!r} is no address block") from error
    bits = len(raw) * 8
    if slash and not (length.isascii() and length.isdigit() and int(length) <= bits):
        raise ValueError(f"{text!r} has no length from 0 to {bits}")
    size = int(length) if slash else bits
    if int.from_bytes(raw, "big") % (1 << (bits - size)):
        raise ValueError(f"{text!r} has host bits set")
    return version, spelled(raw) if version == 6 else address, size


def plain(text: object) -> str:
    """Spell a block in the one way that counts."""
    _, address, size = block(text)
    return f"{address}/{size}"


def spelled(raw: bytes) -> str:
    """Spell an address of IPv6: the first of the longest rows of two zeros or more is left out."""
    words = [f"{int.from_bytes(raw[at : at + 2], 'big'):x}" for at in range(0, 16, 2)]
    rows = [(len(row), -at) for at in range(8) for row in [words[at : at + run(words, at)]]]
    longest, start = max(rows)
    if longest < 2:
        return ":".join(words)
    return ":".join(words[:-start]) + "::" + ":".join(words[-start + longest :])


def run(words: list[str], at: int) -> int:
    """Return how many zeros stand in a row."""
    end = at
    while end < len(words) and words[end] == "0":
        end += 1
    return end - at
