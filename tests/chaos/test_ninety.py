"""Ninety days without a network, on a virtual clock: nothing lost inside the budget, memory flat, disk bounded."""

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from tests.chaos.ninety import DAYS, PAGE
from tests.house import ROOT

HALF_HOUR = 1800
SHIPPED = 16 << 20  # bytes of queue in the profile that ships
LATER = 8  # of the nine measurements of memory, the last is compared with the second: the first warms up


def ninety(each: int, limit: int) -> dict[str, Any]:
    """Live through it in a process of its own, on a disk of memory: what reaches a card is counted, not waited for."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryDirectory(prefix="privet-ninety-", dir="/dev/shm") as folder:
        argv = [sys.executable, "-m", "tests.chaos.ninety", folder, str(each), str(limit)]
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def bounded(told: dict[str, Any], limit: int) -> None:
    """Assert what holds in any case: disk, memory, what is written to the card, and how it comes back."""
    print(told)
    assert told["largest"] <= limit
    assert told["memory"][LATER] - told["memory"][1] < 1_000_000
    assert told["bytes"] <= 3 * told["payload"]
    assert told["most"] <= 20
    assert told["silent"] <= 256 * 2 * 20  # a window of new ones and one of repeated ones each time patience ends
    assert told["seconds"] < 3600
    assert told["read"] == told["different"]


def test_inside_the_budget_nothing_is_lost():
    """A batch each half hour: all of it comes, once; at most 20 MB a day reach the card, ext4's journal too."""
    told = ninety(HALF_HOUR, SHIPPED)
    bounded(told, SHIPPED)
    assert told["read"] == told["readings"] == DAYS * 48 * 12
    assert told["gaps"] == 0
    assert told["sent"] < 1.2 * told["records"]
    assert (told["blocks"] + told["journal"]) * PAGE / DAYS < 20_000_000


def test_beyond_it_the_oldest_go_and_are_counted():
    """The twin with a queue too small: the disk stays within it, the newest come without a hole, the rest is gaps."""
    told = ninety(HALF_HOUR, 256 << 10)
    bounded(told, 256 << 10)
    assert 0 < told["read"] < told["readings"]
    assert told["whole"] and told["first"] > 0
    assert told["gaps"] > 0
