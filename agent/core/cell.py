"""Where something is, reduced to a cell of the map: the middle of one is all that leaves. Whole numbers only.

Rows of equal height, and in each row as many columns of equal width as fit: every cell is at least as high and as wide
as declared, at 60 degrees as at the equator, up to the caps at the poles. Reckoned with the shortest degree of latitude
on the ellipsoid, and with the cosine at the edge of a row that is nearer its pole, rounded down.
"""

from .errors import BadInput
from .telemetry import Message, minimise, parse_number, show
from .window import BETWEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .telemetry import Sample, TelemetryField

SCALE = 5  # decimals of a degree: about a metre
ONE = 100_000  # a degree
HALF, WHOLE = 180 * ONE, 360 * ONE
AXES = (("lat", 90), ("lon", 180))  # also the SenML units; how far each reaches from zero, in degrees
SMALLEST, LARGEST = 100, 1_000_000  # metres
HEIGHT = 110_574  # metres of the shortest degree of latitude, at the equator
AROUND = 40_075_016  # metres around the equator
# The cosine of 0 to 90 degrees in units of 1/10000, rounded down.
COSINE = (
    10000, 9998, 9993, 9986, 9975, 9961, 9945, 9925, 9902, 9876, 9848, 9816, 9781, 9743, 9702, 9659, 9612, 9563, 9510,
    9455, 9396, 9335, 9271, 9205, 9135, 9063, 8987, 8910, 8829, 8746, 8660, 8571, 8480, 8386, 8290, 8191, 8090, 7986,
    7880, 7771, 7660, 7547, 7431, 7313, 7193, 7071, 6946, 6819, 6691, 6560, 6427, 6293, 6156, 6018, 5877, 5735, 5591,
    5446, 5299, 5150, 4999, 4848, 4694, 4539, 4383, 4226, 4067, 3907, 3746, 3583, 3420, 3255, 3090, 2923, 2756, 2588,
    2419, 2249, 2079, 1908, 1736, 1564, 1391, 1218, 1045, 871, 697, 523, 348, 174, 0,
)  # fmt: skip


def reduced(field: "TelemetryField", sample: "Sample") -> "tuple[Message, ...]":
    """Keep no more of one reading than was declared: a place becomes its cell, a number is rounded; time its bucket."""
    return placed(field, sample) if field.cell else (minimise(field, sample),)


def placed(field: "TelemetryField", sample: "Sample") -> "tuple[Message, ...]":
    """Return the middle of the cell that a place lies in, as two messages: latitude and longitude."""
    middle = middle_of(field.cell, *read_place(sample.number))
    at = sample.at // field.bucket * field.bucket
    made = []
    for place in range(len(AXES)):
        axis, value = AXES[place][0], middle[place]
        name = field.name + BETWEEN + axis
        made.append(Message(name=name, unit=axis, purpose=field.purpose, scale=SCALE, value=value, at=at))
    return tuple(made)


def read_place(text: str) -> "tuple[int, int]":
    """Read "48.137,11.575" (latitude, longitude in degrees) as units of 10^-5 degrees."""
    parts = text.split(",")
    if len(parts) == len(AXES):
        lat, lon = [parse_number(part.strip(), SCALE) for part in parts]
        if -HALF // 2 <= lat <= HALF // 2 and -WHOLE // 2 <= lon <= WHOLE // 2:
            return lat, lon
    raise BadInput("%s is no place; write latitude and longitude in degrees, like 48.137,11.575" % show(text))


def rows(metres: int) -> int:
    """Return how many rows of cells there are from pole to pole."""
    return max(1, 180 * HEIGHT // metres)


def columns(metres: int, row: int) -> int:
    """Return how many cells there are in a row around the earth."""
    count = rows(metres)
    south, north = HALF * row // count, (HALF * (row + 1) + count - 1) // count  # from the south pole, outwards
    edge = max(HALF // 2 - south, north - HALF // 2)  # from the equator
    cosine = COSINE[min(90, (edge + ONE - 1) // ONE)]
    return max(1, AROUND * cosine // 10_000 // metres)


def middle_of(metres: int, lat: int, lon: int) -> "tuple[int, int]":
    """Return the middle of the cell around a place."""
    count = rows(metres)
    row = min(count - 1, (lat + HALF // 2) * count // HALF)
    across = columns(metres, row)
    column = (lon + WHOLE // 2) % WHOLE * across // WHOLE
    return (
        HALF * (2 * row + 1) // (2 * count) - HALF // 2,
        WHOLE * (2 * column + 1) // (2 * across) - WHOLE // 2,
    )
