"""How a name that a device gave itself is shown: what it cannot do is hide, turn or overwrite what stands around it."""

import unicodedata

MOST = 48
KINDS = ("C", "Zl", "Zp")  # control, format (which turns the direction of writing), private, line and paragraph


def shown(text: str, most: int = MOST) -> str:
    """Return a text without control and bidirectional characters, on one line, of bounded length."""
    kept = "".join(" " if letter in "\t\n\r" else letter for letter in text)
    kept = "".join(letter for letter in kept if not unicodedata.category(letter).startswith(KINDS))
    kept = " ".join(kept.split())
    return kept if len(kept) <= most else kept[: most - 1] + "…"
