"""Laws of the orders: partial order, join, meet; merging policies never loosens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput
from agent.core.order import ANY, Order, order

LISTED = ("no", "some", "yes")
numbers = st.integers(0, 50)
sets = st.frozensets(st.sampled_from("abcde")).map(lambda s: tuple(sorted(s)))
modes = st.tuples(st.sampled_from(["root:root", "root:shadow"]), st.integers(0, 0o777)).map(
    lambda t: f"{t[0]}:{t[1]:04o}"
)
VALUES = {
    "chain": st.sampled_from(LISTED),
    "exact": st.sampled_from(["a", "b"]),
    "at_most": numbers,
    "at_least": numbers,
    "subset": sets,
    "mode": modes,
}


@st.composite
def trios(draw: st.DrawFn) -> tuple[Order, object, object, object]:
    """Draw an order and three of its values, ANY among them."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    value = st.one_of(VALUES[kind], st.just(ANY))
    return order(kind, LISTED), draw(value), draw(value), draw(value)


@given(trios())
def test_it_is_a_partial_order(trio: tuple[Order, object, object, object]) -> None:
    """Reflexive, antisymmetric, transitive."""
    o, a, b, c = trio
    assert o.leq(a, a)
    assert not (o.leq(a, b) and o.leq(b, a)) or a == b
    assert not (o.leq(a, b) and o.leq(b, c)) or o.leq(a, c)


@given(trios())
def test_join_covers_and_is_least(trio: tuple[Order, object, object, object]) -> None:
    """The join is above both, and below every other value above both, unless it is ANY for want of one."""
    o, a, b, c = trio
    join = o.join(a, b)
    assert o.leq(a, join)
    assert o.leq(b, join)
    assert join == o.join(b, a)
    assert not (o.leq(a, c) and o.leq(b, c)) or o.leq(join, c)


@given(trios())
def test_merging_never_loosens(trio: tuple[Order, object, object, object]) -> None:
    """The meet is within both, or refused when the order has no common stricter value."""
    o, a, b, c = trio
    try:
        meet = o.meet(a, b)
    except BadInput:
        assert not o.leq(a, b)
        assert not o.leq(b, a)
        return
    assert o.allows(a, meet)
    assert o.allows(b, meet)
    assert not (o.leq(c, a) and o.leq(c, b)) or o.leq(c, meet)


@given(trios(), st.one_of(st.text(), st.integers(), st.none(), st.lists(st.text()).map(tuple), st.binary()))
def test_what_does_not_belong_never_passes(trio: tuple[Order, object, object, object], strange: object) -> None:
    """A foreign value is never allowed, and joins to ANY."""
    o, a, _, _ = trio
    if not o.valid(strange):
        assert a == ANY or not o.allows(a, strange)
        assert o.join(a, strange) == ANY


def test_an_unknown_order_is_refused() -> None:
    """The kinds are a closed list."""
    with pytest.raises(BadInput):
        order("score")
