"""The vectors about what is declared, what is left of it, and what the notice says; see runner.py."""

from agent.core import catalogue, cell, errors, noise, notice, pace, policy, telemetry, window, withheld
from tests.portable.tables import table_of


def do_notice(a):
    """Say every row that may leave for a purpose, and the notice in words; `fields` take the place of the policy's."""
    table = table_of(a)
    table["fields"] = a.get("fields", table["fields"])
    made = policy.read_policy(table, {})
    rows = [[r.name, r.unit, r.scale, r.step, r.low, r.high, r.bucket] for r in notice.leaves(made, a["purpose"])]
    return [rows, notice.notice(made, a["purpose"])]


def field_of(row):
    """Make a field as a policy's row declares it."""
    return catalogue.read_field(row)


def do_withheld(a):
    """Say why a refused request was refused, by field; and which of its readings lay beyond their range."""
    fields = [field_of(row) for row in a["fields"]]
    samples = [telemetry.Sample(name=name, number=number, at=0) for name, number in a["samples"]]
    error = getattr(errors, a.get("error", "Failed"))("test")
    counts = withheld.refused(error, fields, samples, lambda purpose: purpose in a["agreed"])
    known = {field.name: field for field in fields}
    far = []
    for sample in samples:
        if sample.name in known and withheld.readable(known[sample.name], sample):
            field = known[sample.name]
            far.append([sample.number, withheld.beyond(field, sample, telemetry.minimise(field, sample))])
    return [counts, far]


def do_cell(a):
    """Reduce places to cells of a size: how many cells the row has, and the middle; `place` alone is only read."""
    made = []
    for text in a["places"]:
        lat, lon = cell.read_place(text)
        middle = cell.middle_of(a["metres"], lat, lon)
        row = (lat + cell.HALF // 2) * cell.rows(a["metres"]) // cell.HALF
        made.append([cell.columns(a["metres"], min(row, cell.rows(a["metres"]) - 1)), middle])
    return made


def do_reduced(a):
    """Reduce readings of one field to what may leave."""
    field = field_of(a["field"])
    made = []
    for number, at in a["samples"]:
        for m in cell.reduced(field, telemetry.Sample(name=field.name, number=number, at=at)):
            made.append([m.name, m.unit, m.scale, m.value, m.at])
    return made


def drawn_from(text):
    """Return what draws bits from hex digits, one after another."""
    held = [int("1" + text, 16), 4 * len(text)]

    def bits(count):
        held[1] -= count
        return (held[0] >> held[1]) & ((1 << count) - 1)

    return bits


def do_noise(a):
    """Add noise from given bits to the figures of a bucket, or to readings; or draw numbers of a scale."""
    bits = drawn_from(a["bits"])
    if "scale" in a:
        return [noise.laplace(bits, a["scale"][0], a["scale"][1]) for _ in range(a["count"])]
    field = field_of(a["field"])
    samples = [telemetry.Sample(name=field.name, number=number, at=0) for number in a["numbers"]]
    scales = [noise.scale(field, kind) for kind in field.keep or ("",)]
    if not field.keep:
        made = [noise.blurred(field, telemetry.minimise(field, sample), bits) for sample in samples]
    else:
        held = None
        for sample in samples:
            held = window.fold(field, held, sample)
        made = noise.figures(field, held, bits)
    return [scales, noise.budget(field), [[m.name, m.value] for m in made]]


def do_pace(a):
    """Count readings of a field by their times; or say the span, when what is sealed at each time may leave, if now."""
    fields = [field_of(row) for row in a["fields"]]
    if "times" in a:
        taken, said = pace.NONE_TAKEN, []
        for at in a["times"]:
            after = pace.take_one(fields[0], taken, at)
            said.append(after is not None)
            taken = after or taken
        return [said, [[start, taken.counts[start]] for start in sorted(taken.counts)][-3:], taken.floor]
    span = pace.span_of(fields, a["purpose"])
    if not span:
        return 0
    offset = pace.phase(span, a["device"], a["purpose"])
    moments = [[pace.due(span, offset, at, figures) for figures in (False, True)] for at in a["sealed"]]
    return [span, offset, moments, [pace.may_leave(span, a["moment"], now) for now in a["now"]]]
