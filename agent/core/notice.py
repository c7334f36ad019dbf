"""The notice: what may leave for a purpose, row by row, and the same in words, both from what the sender enforces."""

from .cell import AXES, ONE, SCALE
from .errors import BadInput
from .noise import budget
from .pace import SPREAD, span_of
from .record import Record
from .telemetry import write_number
from .window import BETWEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .policy import Policy
    from .telemetry import Purpose, TelemetryField

FIGURES = {"count": "how many", "max": "the highest", "mean": "the mean", "min": "the lowest"}
WARNINGS = "warnings"  # the purpose that warnings are sent for, as texts
WARNING = "warning"  # what their names begin with
UNITS = {"Cel": "°C", "%RH": "%", "%EL": "%", "lx": "lux"}  # SenML's own words for them are for machines
SPANS = ((86400, "day"), (3600, "h"), (60, "min"))


class Leaving(Record):
    """One row that may leave, by its SenML name: numbers in units of 10^-scale from `low` to `high` in whole `step`s.

    Its times are multiples of `bucket` seconds. `high` is None where no end is declared: of a count. `cell`: it is the
    middle of a cell of so many metres; 0: it is no place.
    """

    __slots__ = ("bucket", "cell", "high", "low", "name", "scale", "step", "unit")
    name: str
    unit: str
    scale: int
    step: int
    low: int
    high: "int | None"
    bucket: int
    cell: int


def find_purpose(policy: "Policy", name: str) -> "Purpose":
    """Return a declared purpose, or refuse."""
    for purpose in policy.purposes:
        if purpose.id == name:
            return purpose
    raise BadInput(
        "no purpose is called %r; declared: %s" % (name[:40], ", ".join([p.id for p in policy.purposes]) or "none")
    )


def chosen(policy: "Policy", name: str, to: "tuple[str, ...]" = ()) -> "tuple[str, ...]":
    """Return the recipients that an answer is about: those named, which the purpose must have, or all of it."""
    known = find_purpose(policy, name).recipients
    for one in to:
        if one not in known:
            raise BadInput("%s goes to nobody called %r; it goes to: %s" % (name, one[:40], ", ".join(known)))
    return tuple([one for one in known if not to or one in to])


def leaving(field: "TelemetryField") -> "tuple[Leaving, ...]":
    """Return every row that may leave of a field; nothing else of it does."""
    if field.cell:
        return tuple([axis_of(field, axis, end) for axis, end in AXES])
    return tuple([figure(field, kind) for kind in field.keep or ("",)])


def axis_of(field: "TelemetryField", axis: str, end: int) -> Leaving:
    """Return the row of one axis of a place."""
    return Leaving(
        name=field.name + BETWEEN + axis, unit=axis, scale=SCALE, step=1, low=-end * ONE, high=end * ONE,
        bucket=field.bucket, cell=field.cell,
    )  # fmt: skip


def figure(field: "TelemetryField", kind: str) -> Leaving:
    """Return the row of one figure of a field, or of the field itself."""
    name = field.name + (BETWEEN + kind if kind else "")
    if kind == "count":
        return Leaving(name=name, unit="count", scale=0, step=1, low=0, high=None, bucket=field.bucket, cell=0)
    return Leaving(
        name=name, unit=field.unit, scale=field.scale, step=field.step,
        low=field.low, high=field.high, bucket=field.bucket, cell=0,
    )  # fmt: skip


def leaves(policy: "Policy", name: str) -> "tuple[Leaving, ...]":
    """Return every row that may leave for a purpose; warnings are one, of texts: its name is what theirs begin with."""
    rows: "list[Leaving]" = []
    if texts(policy, name):
        rows.append(Leaving(name=WARNING, unit="", scale=0, step=1, low=0, high=None, bucket=1, cell=0))
    for field in policy.fields:
        if field.purpose == name:
            rows.extend(leaving(field))
    return tuple(rows)


def texts(policy: "Policy", name: str) -> bool:
    """Say whether warnings are sent for a purpose."""
    return name == WARNINGS and "mqtt" in policy.channels


def notice(policy: "Policy", name: str, to: "tuple[str, ...]" = ()) -> str:
    """Write the notice of one purpose, for all or some recipients, from the very objects that the sender enforces."""
    purpose, named = find_purpose(policy, name), chosen(policy, name, to)
    lines = ["%s: %s" % (purpose.title, purpose.text), "Legal basis: %s." % purpose.basis]
    if texts(policy, name):
        lines.append("Collected: each warning you are shown (%s), word for word, timed to the second." % WARNING)
    for field in policy.fields:
        if field.purpose == name:
            lines.append(collected(field))
    lines.append(sent(span_of(policy.fields, name)))
    for recipient in policy.recipients:
        if recipient.id in named:
            lines.append("Goes to: %s (%s)." % (recipient.name, recipient.country))
    lines.append("Kept by them for %d days. Nobody else can read it on the way." % purpose.retention_days)
    if purpose.pseudonym:
        renamed = "Handed on by them, this device has another name in it every %s, which only they can tell."
        lines.append(renamed % span(purpose.pseudonym))
    lines.append("You can stop it at any time: privet consent withdraw %s" % name)
    return "\n".join(lines)


def noised(field: "TelemetryField") -> str:
    """Say what noise hides, and how much of it all that leaves of a span and of a day comes to."""
    above, below = budget(field)
    each = [fraction(above * times, below) for times in (1, -(-86400 // field.bucket))]
    hidden = ", with random noise on it so that no single reading can be told (epsilon %s a span, %s a day at most)"
    return hidden % (each[0], each[1])


def fraction(above: int, below: int) -> str:
    """Write a fraction as a decimal number, rounded up at the third place."""
    return shortly(-(-above * 1000 // below), 3)


def sent(held: int) -> str:
    """Say when it is sent."""
    if not held:
        return "Sent: as soon as there is something."
    said = "Sent: within %s after the end of each span of %s; when within it something was measured does not show."
    return said % (span(min(held, SPREAD)), span(held))


def collected(field: "TelemetryField") -> str:
    """Say what is collected of one field: its title and name, how precisely, over which span, within which range."""
    what = "%s (%s)" % (field.title, field.name)
    if field.keep:
        what = "of %s, only %s of each span" % (what, " and ".join([FIGURES[kind] for kind in field.keep]))
    timed = span(field.bucket)
    if field.most:
        timed += ", at most %d in that time, others dropped" % field.most
    if field.cell:
        size = metres(field.cell)
        return "Collected: %s, to a cell of the map of at least %s by %s, timed to %s." % (what, size, size, timed)
    if field.noise:
        timed += noised(field)
    low, high, step = [shortly(number, field.scale) for number in (field.low, field.high, field.step)]
    unit = UNITS.get(field.unit, field.unit)
    return "Collected: %s, in steps of %s %s from %s to %s, timed to %s." % (what, step, unit, low, high, timed)


def metres(count: int) -> str:
    """Say a length: 5000 is "5 km", 1500 is "1.5 km"."""
    return "%s km" % shortly(count, 3) if count >= 1000 else "%d m" % count


def shortly(value: int, scale: int) -> str:
    """Write a number without zeros at its end: (400, 1) is "40"."""
    while scale and value % 10 == 0:
        value, scale = value // 10, scale - 1
    return write_number(value, scale)


def span(seconds: int) -> str:
    """Say a span as people do: 900 is "15 min"; what is no whole number of minutes stays in seconds."""
    for length, unit in SPANS:
        if seconds % length == 0:
            count = seconds // length
            return "%d %s%s" % (count, unit, "s" if unit == "day" and count > 1 else "")
    return "%d s" % seconds
