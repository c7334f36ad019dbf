"""Readings handed on under pseudonyms: one device in a span, two in two; nothing else ties the spans together."""

from decimal import Decimal
from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from agent.core.secret import Secret
from provisioning.collector.forms import influx
from provisioning.collector.open import Place
from provisioning.collector.pseudonym import DAY, Pseudonyms
from provisioning.collector.receive import Reading

NAMES = Pseudonyms(Secret(b"k" * 32), {"climate": DAY})


def reading(at: int, seq: int = 1, device: str = "r7k2", arrival: int = 1, purpose: str = "climate") -> Reading:
    """Make a reading."""
    place = Place(device=device, purpose=purpose, boot=7)
    number = Decimal("21.5")
    return Reading(arrival=arrival, at=at, name="t", place=place, received=at + 99, seq=seq, unit="Cel", value=number)


def test_a_device_has_one_name_in_a_span_and_another_in_the_next():
    """The same for every export; not the one of another device, purpose or key."""
    first, noon, next_day = (NAMES.name("r7k2", "climate", at) for at in (0, DAY - 1, DAY))
    assert first == noon != next_day
    others = {NAMES.name("r7k3", "climate", 0), NAMES.name("r7k2", "weather", 0)}
    others.add(Pseudonyms(Secret(b"x" * 32), {"climate": DAY}).name("r7k2", "climate", 0))
    assert len(others | {first, next_day}) == 5
    assert NAMES.name("r7k2", "weather", 29 * DAY) == NAMES.name("r7k2", "weather", 0)
    assert len(first) == 16


def test_a_record_over_the_end_of_a_span_ties_nothing():
    """Two readings of one record, in two spans: no number, count, second or neighbour is shared."""
    both = list(NAMES.renamed([reading(DAY - 1), reading(DAY)]))
    assert len({one.place.device for one in both}) == 2
    assert len({one.seq for one in both}) == len({one.arrival for one in both}) == 2
    assert {one.place.boot for one in both} == {0}
    assert {one.received % DAY for one in both} == {0}
    assert "r7k2" not in repr(both)


@given(st.permutations(range(12)))
def test_the_order_of_arrival_does_not_show(order):
    """Readings that come in another order are handed on in the same."""
    made = [reading(DAY // 4 * n, seq=n, device=f"d{n % 3}", arrival=n) for n in range(1, 13)]
    plain = [(one.place, one.at, one.seq) for one in NAMES.renamed(made)]
    assert plain == [(one.place, one.at, one.seq) for one in NAMES.renamed([made[n] for n in order])]


def test_no_point_of_influx_takes_the_place_of_another():
    """Readings of one record at one minimised time keep a moment each, as under their own names."""
    out = BytesIO()
    assert influx.write(NAMES.renamed([reading(60), reading(60), reading(60, seq=2, arrival=2)]), out) == 3
    assert len({line.rpartition(b" ")[2] for line in out.getvalue().splitlines()}) == 3
