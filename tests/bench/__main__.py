"""Run the benches: `python -m tests.bench [memory reaction sweep status flow]`, or those of `fleet` or `telemetry`."""

import os
import sys

from tests.bench import cards, devices, enrolments, flow, guard, reconnects
from tests.bench.figures import Figures

SECTIONS = {
    "memory": guard.memory,
    "reaction": guard.reaction,
    "sweep": guard.sweep,
    "status": guard.status,
    "flow": flow.flow,
}
TELEMETRY = {"flow": flow.flow, "latency": flow.latency, "devices": devices.devices}
FLEET = {"cards": cards.cards, "personal": cards.personal, **enrolments.SECTIONS, "reconnects": reconnects.reconnects}


def main(words: list[str]) -> int:
    """Run the named sections, all when none is named; the exit code says whether a budget was missed."""
    words = {"fleet": list(FLEET), "telemetry": list(TELEMETRY)}.get(" ".join(words), words)
    known = SECTIONS | TELEMETRY | FLEET
    unknown = [word for word in words if word not in known]
    if unknown:
        print(f"no section is called {unknown[0]}; choose from: {' '.join(known)}", file=sys.stderr)
        return 64
    if os.getuid() != 0:
        print("the bench runs the real guard on a lab device and needs root; run it with sudo", file=sys.stderr)
        return 77
    figures = Figures()
    for word in words or list(SECTIONS):
        known[word](figures)
    for text in figures.missed:
        print(f"MISSED  {text}")
    return 1 if figures.missed else 0


sys.exit(main(sys.argv[1:]))
