"""Partial orders of options: what is stricter, what is looser, and what merges to what.

Values are plain: a word (chain, exact), a whole number (at_most, at_least), a sorted tuple of words (subset),
or "owner:group:octal" (mode). ANY is looser than everything. A value that does not belong to its order counts
as ANY when found, so a strange reading can never pass for a strict one.
"""

from .errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .record import Value

ANY = "*"
KINDS = ("at_least", "at_most", "chain", "exact", "mode", "subset")


class Order:
    """A lattice of values; `leq(a, b)` says that a is at least as strict as b."""

    def __init__(self, words: "tuple[Value, ...]" = ()) -> None:
        self.words = words

    def valid(self, value: "Value") -> bool:
        """Say whether the value belongs to this order (ANY always does)."""
        return value == ANY or self.member(value)

    def member(self, value: "Value") -> bool:
        """Say whether the value, other than ANY, belongs to this order."""
        raise BadInput("an order needs a member rule")

    def below(self, a: "Value", b: "Value") -> bool:
        """Compare two members."""
        return a == b

    def leq(self, a: "Value", b: "Value") -> bool:
        """Say whether a is at least as strict as b."""
        if b == ANY:
            return True
        if a == ANY or not self.member(a) or not self.member(b):
            return False
        return self.below(a, b)

    def allows(self, wanted: "Value", found: "Value") -> bool:
        """Say whether the found value stays within the wanted one; incomparable is not, so it counts as looser."""
        return self.leq(found, wanted)

    def join(self, a: "Value", b: "Value") -> "Value":
        """Merge evidence: the strictest value that covers both."""
        if not self.member(a) or not self.member(b):
            return ANY
        if self.below(a, b):
            return b
        return a if self.below(b, a) else self.cover(a, b)

    def meet(self, a: "Value", b: "Value") -> "Value":
        """Merge policy layers: the loosest value that both allow."""
        if not self.valid(a) or not self.valid(b):
            raise BadInput("%r or %r does not belong to this setting; correct the profile" % (a, b))
        if a == ANY or b == ANY:
            return b if a == ANY else a
        if self.below(a, b):
            return a
        return b if self.below(b, a) else self.common(a, b)

    def cover(self, a: "Value", b: "Value") -> "Value":
        """Join two incomparable members."""
        return ANY

    def common(self, a: "Value", b: "Value") -> "Value":
        """Meet two incomparable members; an order without a common stricter value refuses."""
        raise BadInput("%r and %r have no common stricter value; keep one of them" % (a, b))


class Chain(Order):
    """Words from the strictest to the loosest, as the setting lists them."""

    def member(self, value: "Value") -> bool:
        """A listed word."""
        return type(value) is str and value in self.words

    def below(self, a: "Value", b: "Value") -> bool:
        """Earlier in the list is stricter."""
        return self.words.index(a) <= self.words.index(b)


class Exact(Order):
    """One right value; every other is looser (digests, owners)."""

    def member(self, value: "Value") -> bool:
        """Any word."""
        return type(value) is str and value != ANY


class AtMost(Order):
    """Whole numbers, smaller is stricter (retention, sampling rate)."""

    def member(self, value: "Value") -> bool:
        """A whole number from zero."""
        return type(value) is int and value >= 0

    def below(self, a: "Value", b: "Value") -> bool:
        """Fewer is stricter."""
        return a <= b  # type: ignore[operator]


class AtLeast(AtMost):
    """Whole numbers, bigger is stricter (password length, window of aggregation)."""

    def below(self, a: "Value", b: "Value") -> bool:
        """More is stricter."""
        return a >= b  # type: ignore[operator]


class Subset(Order):
    """Sorted tuples of words, fewer is stricter (open ports, accounts, recipients)."""

    def member(self, value: "Value") -> bool:
        """A sorted tuple of distinct words."""
        if type(value) is not tuple:
            return False
        last = ""
        for word in value:
            if type(word) is not str or word <= last:
                return False
            last = word
        return True

    def below(self, a: "Value", b: "Value") -> bool:
        """Every word of a is in b."""
        return all([word in b for word in a])  # type: ignore[operator,union-attr]

    def cover(self, a: "Value", b: "Value") -> "Value":
        """Union."""
        return words(tuple(a) + tuple(b))  # type: ignore[arg-type]

    def common(self, a: "Value", b: "Value") -> "Value":
        """Intersection."""
        return tuple([word for word in a if word in b])  # type: ignore[misc,operator,union-attr]


class Mode(Order):
    """Who owns a file and who may use it: "owner:group:octal"; another owner or group is incomparable."""

    def member(self, value: "Value") -> bool:
        """Three parts, the last one octal."""
        return type(value) is str and bits(value) is not None

    def below(self, a: "Value", b: "Value") -> bool:
        """Same owner and group, and no bit that b lacks."""
        x, y = bits(a), bits(b)
        return x is not None and y is not None and x[0] == y[0] and (x[1] & ~y[1]) == 0

    def cover(self, a: "Value", b: "Value") -> "Value":
        """Union of bits under one owner, else ANY."""
        x, y = bits(a), bits(b)
        return ANY if x is None or y is None or x[0] != y[0] else "%s:%04o" % (x[0], x[1] | y[1])

    def common(self, a: "Value", b: "Value") -> "Value":
        """Shared bits under one owner."""
        x, y = bits(a), bits(b)
        if x is None or y is None or x[0] != y[0]:
            return Order.common(self, a, b)
        return "%s:%04o" % (x[0], x[1] & y[1])


def bits(value: "Value") -> "tuple[str, int] | None":
    """Split "owner:group:octal" into ("owner:group", bits), or None."""
    if type(value) is not str:
        return None
    parts = value.split(":")
    if len(parts) != 3 or not parts[0] or not parts[1] or not parts[2] or len(parts[2]) > 5:
        return None
    number = 0
    for digit in parts[2]:
        if digit not in "01234567":
            return None
        number = number * 8 + int(digit)
    return ("%s:%s" % (parts[0], parts[1]), number)


def words(items: "tuple[str, ...] | list[str] | set[str]") -> "tuple[str, ...]":
    """Return the distinct words in the one order that `subset` uses."""
    return tuple(sorted(set(items)))


def order(kind: str, listed: "tuple[Value, ...]" = ()) -> Order:
    """Build the order of a setting; `listed` are its options, strictest first."""
    if kind not in KINDS:
        raise BadInput("no order is called %r; use one of %s" % (kind, ", ".join(KINDS)))
    made = {"at_least": AtLeast, "at_most": AtMost, "chain": Chain, "exact": Exact, "mode": Mode, "subset": Subset}
    return made[kind](listed)
