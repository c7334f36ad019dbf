"""The vectors about what is declared, what is left of it, and what the notice says; see runner.py."""

import binascii

from agent.core import errors, notice, policy, telemetry, withheld


def table_of(a):
    """Make the policy map of a case: recipients' keys are hex in JSON."""
    table = dict(a["policy"])
    table["recipients"] = []
    for row in a["policy"]["recipients"]:
        row = dict(row)
        row["key"] = binascii.unhexlify(row["key"])
        table["recipients"].append(row)
    return table


def do_notice(a):
    """Say every row that may leave for a purpose, and the notice in words; `fields` take the place of the policy's."""
    table = table_of(a)
    table["fields"] = a.get("fields", table["fields"])
    made = policy.read_policy(table, {})
    rows = [[r.name, r.unit, r.scale, r.step, r.low, r.high, r.bucket] for r in notice.leaves(made, a["purpose"])]
    return [rows, notice.notice(made, a["purpose"])]


def field_of(row):
    """Make a field; `keep` may be missing."""
    table = {"keep": ()}
    table.update(row)
    table["keep"] = tuple(table["keep"])
    return telemetry.TelemetryField(**table)


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
