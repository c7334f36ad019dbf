"""Noise: exactly the promised distribution, by a fixed stream of bits; and as much of it as a reading needs."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from math import exp

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agent.core.noise import bounded, budget, laplace, one_in_e, scale, sensitivity, uniform
from agent.core.telemetry import Sample, TelemetryField, write_number
from agent.core.window import Window, fold
from tests.house import ROOT

KNOWN = json.loads((ROOT / "tests/vectors/noise.json").read_text(encoding="utf-8"))
MANY = 6_000
FAR = 13


def stream(seed: str) -> Callable[[int], int]:
    """Return what draws bits from a fixed stream of bytes."""
    number, length, block = 0, 0, 0

    def bits(count: int) -> int:
        nonlocal number, length, block
        while length < count:
            drawn = hashlib.sha256(f"{seed} {block}".encode()).digest()
            number, length, block = number << 256 | int.from_bytes(drawn, "big"), length + 256, block + 1
        length -= count
        out, number = number >> length, number & ((1 << length) - 1)
        return out

    return bits


def probabilities(t: int, s: int) -> list[float]:
    """Return those of -FAR to FAR, everything beyond counted in at the ends."""
    base = exp(-s / t)
    inner = [(1 - base) / (1 + base) * base ** abs(z) for z in range(1 - FAR, FAR)]
    tail = (1 - sum(inner)) / 2
    return [tail, *inner, tail]


def surprise(seen: list[int], wanted: list[float]) -> float:
    """Return chi-square over the bins that expect at least five."""
    total = sum(seen)
    return sum((s - total * p) ** 2 / (total * p) for s, p in zip(seen, wanted, strict=True) if total * p >= 5)


def histogram(draws: list[int]) -> list[int]:
    """Count draws into the same bins."""
    counts = Counter(max(-FAR, min(FAR, z)) for z in draws)
    return [counts[z] for z in range(-FAR, FAR + 1)]


LIMIT = 54.05  # chi-square of 26 degrees of freedom is above it once in a thousand times


@pytest.mark.parametrize(("t", "s"), [(5, 2), (1, 1), (7, 3), (10, 1)])
def test_the_distribution_is_the_promised_one(t, s):
    """Against the exact probabilities; another scale is told apart, so the test could fail."""
    bits = stream(f"{t}/{s}")
    seen = histogram([laplace(bits, t, s) for _ in range(MANY)])
    assert surprise(seen, probabilities(t, s)) < LIMIT
    assert surprise(seen, probabilities(4 * t, 3 * s)) > LIMIT


def test_it_is_the_distribution_of_opendp():
    """Fifty thousand draws of that library fit the same probabilities, and another scale's not."""
    drawn = KNOWN["drawn"]
    assert surprise(drawn["histogram"], probabilities(drawn["t"], drawn["s"])) < LIMIT
    assert surprise(drawn["histogram"], probabilities(11 * drawn["t"], 10 * drawn["s"])) > LIMIT


@pytest.mark.parametrize("row", KNOWN["scales"], ids=lambda row: f"{row['sensitivity']} at {row['epsilon']}")
def test_our_scales_have_the_epsilon_that_opendp_finds(row):
    """The scale that a field gets is the one for which the library proves that epsilon."""
    above, below = Fraction(row["epsilon"]).as_integer_ratio()
    made = field(step=1, low=0, high=row["sensitivity"], noise=(above, below, 1), most=1)
    assert Fraction(*scale(made, "")) == Fraction(row["t"], row["s"])
    assert abs(row["map"] - above / below) < 1e-9


def test_a_coin_of_one_in_e_is_fair_enough():
    """exp(-1) and exp(-1/3), within four standard deviations of all draws."""
    bits = stream("coin")
    for above, below in ((1, 1), (1, 3), (0, 5)):
        wanted = exp(-above / below)
        share = sum(one_in_e(bits, above, below) for _ in range(MANY)) / MANY
        assert abs(share - wanted) <= 4 * (wanted * (1 - wanted) / MANY) ** 0.5


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_a_uniform_draw_is_below_its_end(count, seed):
    """For any end; of one number it draws no bit at all."""
    assert 0 <= uniform(stream(str(seed % 7)), count) < count


def field(**changes: object) -> TelemetryField:
    """Make a field."""
    row = {
        "name": "n", "title": "N", "unit": "m", "purpose": "p", "scale": 1, "step": 5, "low": -400, "high": 850,
        "bucket": 3600, "keep": (), "cell": 0, "most": 0, "noise": (1, 2, 4),
    }  # fmt: skip
    return TelemetryField(**(row | changes))  # type: ignore[arg-type]


def counted(declared: TelemetryField, numbers: list[int]) -> dict[str, int]:
    """Return the figures of readings, before noise."""
    window: Window | None = None
    for number in numbers:
        window = fold(declared, window, Sample(name="n", number=write_number(number, 1), at=7200))
    assert window is not None
    return {message.name.partition("/")[2]: message.value for message in bounded(declared, window)}


@given(
    st.lists(st.integers(-1500, 1500), min_size=1, max_size=12), st.integers(-1500, 1500),
    st.integers(-500, 0), st.integers(1, 900), st.integers(1, 40), st.integers(1, 9),
)  # fmt: skip
def test_no_reading_moves_a_figure_further_than_reckoned(numbers, other, low, high, step, least):
    """One more, one less, or one exchanged: what the noise has to hide is never larger."""
    assume(high - low >= step)
    one = field(keep=("count", "mean"), low=low, high=high, step=step, noise=(1, 2, least))
    for changed in ([*numbers, other], [*numbers[1:], other]):
        before, after = counted(one, numbers), counted(one, changed)
        assert abs(before["count"] - after["count"]) <= sensitivity(one, "count")
        assert abs(before["mean"] - after["mean"]) <= step * sensitivity(one, "mean")


def test_the_budget_counts_every_figure():
    """Two figures cost twice as much as one; of single readings as many as may leave."""
    assert budget(field(keep=("count", "mean"))) == (2, 2)
    assert budget(field(most=4)) == (4, 2)
