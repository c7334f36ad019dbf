"""Readings of two hundred devices through everything that breaks: none is lost, doubled or readable."""

import os
from pathlib import Path

from provisioning.broker.mosquitto import SAVED
from tests.storm.storm import Plan, Shape, Storm

READINGS = int(os.environ.get("PRIVET_CHAOS_READINGS", "200000"))
SHAPE = Shape(crowded=180, crowds=9, alone=4, full=8, broken=8)
SECONDS = 100
LEAST = {
    "broker killed": 4,
    "crowd killed": 8,
    "guard killed": 4,
    "courier killed": 4,
    "collector killed": 2,
    "site killed": 1,
    "clock ten years ahead": 2,
    "clock ten years back": 2,
    "network lossy": 3,
    "disk full": 1,
    "disk read-only": 1,
}
HEARD = {
    "packets lost": 100,
    "line delayed": 100,
    "line trickled": 5,
    "line stalled": 1,
    "line cut": 1,
    "packets": 10000,
}


def test_nothing_is_lost_doubled_or_readable(place: Path, seed: str):
    """Programs killed, packets lost, lines stalled, disks full or read-only, clocks off: all arrives once, unread."""
    plan = Plan(
        seed=seed, readings=READINGS, shape=SHAPE, seconds=SECONDS, saved=SAVED, faults=(), least=LEAST, twin=""
    )
    history = Storm(place, plan).run()
    print(history)
    assert {name: least for name, least in (LEAST | HEARD).items() if history.fired.get(name, 0) < least} == {}
    assert history.accepted >= READINGS
    assert (history.lost, history.doubled, history.odd, history.waiting) == ((), (), (), 0)
    assert history.repeated > 0  # else the de-duplication had nothing to do
    assert history.texts > 0
    assert history.found == {}
    assert min(history.looked.values()) > 5 * READINGS  # bytes; sealed, a reading takes more
