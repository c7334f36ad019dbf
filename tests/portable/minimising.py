"""The vectors about what is declared, what is left of it, and what the notice says; see runner.py."""

import binascii

from agent.core import notice, policy


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
