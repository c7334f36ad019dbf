"""Secrets that cannot be shown, written or compared by accident."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def same_slowly(a: bytes, b: bytes) -> bool:
    """Compare in a time that depends on the lengths alone, where there is no hmac.compare_digest."""
    difference = len(a) ^ len(b)
    for i in range(min(len(a), len(b))):
        difference |= a[i] ^ b[i]
    return difference == 0


try:
    from hmac import compare_digest as same
except ImportError:  # MicroPython has no hmac
    same = same_slowly  # type: ignore[assignment]


class Secret:
    """Bytes behind `reveal()`: printing, formatting, pickling and CBOR show or take nothing of them."""

    __slots__ = ("_hidden",)

    def __init__(self, hidden: bytes) -> None:
        if type(hidden) is not bytes:
            raise TypeError("a secret is made of bytes")
        self._hidden = hidden

    def reveal(self) -> bytes:
        """Return the bytes; every call of this is a place where a secret leaves its wrapping."""
        return self._hidden

    def __repr__(self) -> str:
        return "<secret>"

    def __str__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return type(other) is Secret and same(self._hidden, other._hidden)

    def __hash__(self) -> int:
        raise TypeError("a secret is no key of a map")

    def __reduce__(self) -> "NoReturn":
        raise TypeError("a secret is not pickled")
