"""How readings and texts are laid out before they are sealed: SenML in CBOR (FORMAT.md 3.4)."""

from collections.abc import Sequence
from typing import Any

from agent.core import cbor


def worded(texts: Sequence[tuple[str, str, int]]) -> list[dict[int, Any]]:
    """Lay texts (name, text, time) out as a SenML pack: the base time stands in the first row alone (FORMAT.md 3.4)."""
    base = min(at for _, _, at in texts)
    rows: list[dict[int, Any]] = [
        {0: name, 3: text, **({6: at - base} if at > base else {})} for name, text, at in texts
    ]
    rows[0][-3] = base
    return rows


def fraction(exponent: int, mantissa: int) -> cbor.Tag:
    """Make a decimal fraction (CBOR tag 4, RFC 8949 §3.4.4)."""
    return cbor.Tag(tag=4, value=[exponent, mantissa])
