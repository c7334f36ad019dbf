"""Cells of the map: laws that hold for any place and any size, checked against the ellipsoid in floating point."""

from math import cos, radians, sin, sqrt

from hypothesis import given
from hypothesis import strategies as st

from agent.core.cell import COSINE, HALF, ONE, WHOLE, columns, middle_of, rows

LATITUDES = st.integers(-90 * ONE, 90 * ONE)
LONGITUDES = st.integers(-180 * ONE, 180 * ONE)
SIZES = st.integers(100, 1_000_000)
MAJOR, ECCENTRICITY = 6_378_137.0, 0.00669437999014  # WGS 84: metres, squared


def parallel(lat: float) -> float:
    """Return the metres around the earth at a latitude."""
    return 6.283185307179586 * MAJOR * cos(radians(lat)) / sqrt(1 - ECCENTRICITY * sin(radians(lat)) ** 2)


def meridian(lat: float) -> float:
    """Return the metres of one degree of latitude, around a latitude."""
    return radians(1) * MAJOR * (1 - ECCENTRICITY) / sqrt(1 - ECCENTRICITY * sin(radians(lat)) ** 2) ** 3


@given(LATITUDES, LONGITUDES, SIZES)
def test_all_that_leaves_is_the_cell(lat: int, lon: int, metres: int) -> None:
    """The middle of a cell lies in it: whoever reduces it again learns nothing, and it is on earth."""
    middle = middle_of(metres, lat, lon)
    assert middle_of(metres, *middle) == middle
    assert -90 * ONE <= middle[0] <= 90 * ONE
    assert -180 * ONE <= middle[1] <= 180 * ONE


@given(LATITUDES, SIZES)
def test_a_cell_is_nowhere_smaller_than_declared(lat: int, metres: int) -> None:
    """Neither from south to north nor from west to east, measured on the ellipsoid at its narrower edge."""
    count = rows(metres)
    row = min(count - 1, (lat + HALF // 2) * count // HALF)
    south, north = (180 * edge / count - 90 for edge in (row, row + 1))
    if count > 1:
        assert meridian(min(abs(south), abs(north)) if south * north > 0 else 0) * (north - south) >= metres * 0.9999
    across = columns(metres, row)
    if across > 1:
        assert parallel(max(abs(south), abs(north))) / across >= metres * 0.9999


@given(LATITUDES, LONGITUDES, SIZES)
def test_the_middle_is_as_near_as_half_a_cell(lat: int, lon: int, metres: int) -> None:
    """So the cell is the one the place lies in, also across the date line."""
    middle = middle_of(metres, lat, lon)
    count = rows(metres)
    assert abs(middle[0] - lat) * 2 * count <= HALF + 2 * count
    across = columns(metres, min(count - 1, (lat + HALF // 2) * count // HALF))
    apart = abs(middle[1] - lon) % WHOLE
    assert min(apart, WHOLE - apart) * 2 * across <= WHOLE + 2 * across


def test_the_table_of_cosines_rounds_down() -> None:
    """Each entry, so that no cell is narrower than reckoned."""
    assert len(COSINE) == 91
    assert all(0 <= 10_000 * cos(radians(degree)) - entry < 1.0001 for degree, entry in enumerate(COSINE))
