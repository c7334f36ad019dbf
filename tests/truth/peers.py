"""Two scanners of Debian, asked about the very state that we are asked about: Lynis and OpenSCAP.

Each gives one of four words: `open`, `shut`, `unknown` (asked, and it came to no verdict), `no test`. Where a scanner
could be asked in two ways, it is asked in the one that serves it better: Lynis alone runs the tests that matter and
those they need; of the content that Debian 12 has for OpenSCAP, which is for Debian 11 and calls itself "not
applicable" here, the definition behind the rule is evaluated by itself.
"""

import re
from collections.abc import Iterable

from tests.device.lab import Device
from tests.truth.states import Asked

OPEN, SHUT, UNKNOWN, NONE = "open", "shut", "unknown", "no test"
CONTENT = "/usr/share/xml/scap/ssg/content/ssg-debian11-oval.xml"
# What its profiles would tell it: that a server for SSH is wanted, so its configuration counts.
WANTED = """<?xml version="1.0"?>
<oval_variables xmlns="http://oval.mitre.org/XMLSchema/oval-variables-5"
  xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5"><generator>
<oval:schema_version>5.11</oval:schema_version><oval:timestamp>2026-01-01T00:00:00</oval:timestamp></generator><variables>
<variable id="oval:ssg-sshd_required:var:1" datatype="int" comment="wanted"><value>2</value></variable>
</variables></oval_variables>
"""
VARIABLES = "/run/wanted.xml"
REPORT = "/run/lynis.report"
GROUPS = {
    "AUTH": "authentication", "FILE": "file_permissions", "FIRE": "firewalls", "HOME": "homedirs",
    "KRNL": "kernel_hardening", "SSH": "ssh",
}  # fmt: skip


def lynis(device: Device, asked: Asked) -> str:
    """Run the groups of the tests asked for; open when the report of one of them bears a mark."""
    if not asked.ids:
        return NONE
    device.write("/etc/lynis/custom.prf", "skip-upgrade-test=yes\n")
    groups = sorted({GROUPS[one.partition("-")[0]] for one in asked.ids})
    argv = ["lynis", "audit", "system", "--quick", "--no-colors", "--tests-from-group", " ".join(groups)]
    device.run([*argv, "--report-file", REPORT, "--log-file", "/run/lynis.log"], seconds=240)
    report = device.read(REPORT)
    ran = set(next((line for line in report.splitlines() if line.startswith("tests_executed=")), "")[15:].split("|"))
    return judged(report, ran, asked)


def judged(report: str, ran: Iterable[str], asked: Asked) -> str:
    """Say what a report means; a test that did not run says nothing."""
    if any(mark in report for mark in asked.marks):
        return OPEN
    return SHUT if set(asked.ids) <= set(ran) else UNKNOWN


def openscap(device: Device, rule: str) -> str:
    """Evaluate the definition behind one rule."""
    if not rule:
        return NONE
    device.write(VARIABLES, WANTED)
    argv = ["oscap", "oval", "eval", "--variables", VARIABLES, "--id", f"oval:ssg-{rule}:def:1", CONTENT]
    done = device.run(argv, seconds=120)
    found = re.search(r"^Definition oval:ssg-\S+: (\w+)$", done.stdout.decode(), re.MULTILINE)
    return {"true": SHUT, "false": OPEN}.get(found[1] if found else "", UNKNOWN)
