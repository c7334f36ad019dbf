"""Figures of a bucket: laws that hold for any readings."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.telemetry import Sample, TelemetryField, write_number
from agent.core.window import KEEPS, Window, close, fold, mean

FIELD = TelemetryField(
    name="n",
    title="N",
    unit="m",
    purpose="p",
    scale=1,
    step=5,
    low=-400,
    high=850,
    bucket=3600,
    keep=KEEPS,
    cell=0,
    most=0,
    noise=(),
)


def counted(numbers: list[int]) -> Window:
    """Count readings into one bucket."""
    window: Window | None = None
    for number in numbers:
        window = fold(FIELD, window, Sample(name="n", number=write_number(number, 1), at=7200))
    assert window is not None
    return window


@given(st.lists(st.integers(-2000, 2000), min_size=1, max_size=50))
def test_the_order_of_readings_does_not_matter(numbers: list[int]) -> None:
    """The same readings, the same figures; and none leaves the declared range or its steps."""
    figures = {m.name: m.value for m in close(FIELD, counted(numbers))}
    assert figures == {m.name: m.value for m in close(FIELD, counted(sorted(numbers)))}
    assert figures["n/count"] == len(numbers)
    assert -400 <= figures["n/min"] <= figures["n/mean"] <= figures["n/max"] <= 850
    assert all(figures[f"n/{kind}"] % 5 == 0 for kind in ("min", "mean", "max"))


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6))
def test_a_mean_is_off_by_at_most_half(total: int, count: int) -> None:
    """Whole numbers, no floats: exact to half a unit, and the same on both sides of zero."""
    assert abs(2 * mean(total, count) * count - 2 * total) <= count
    assert mean(-total, count) == -mean(total, count)
