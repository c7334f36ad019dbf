"""What several parts of the vectors read the same way; see runner.py."""

import binascii


def table_of(a):
    """Make the policy map of a case: recipients' keys are hex in JSON."""
    table = dict(a["policy"])
    table["recipients"] = []
    for row in a["policy"]["recipients"]:
        row = dict(row)
        row["key"] = binascii.unhexlify(row["key"])
        table["recipients"].append(row)
    return table
