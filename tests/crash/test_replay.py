"""Power cuts block by block: every state a card may be in after a cut holds what was reported, whole.

One machine records each workload on a card of its own; thousands of states are made from the records, each mounted by
this kernel (which replays the file system's journal) and judged. PRIVET_CRASH_STATES says how many in all (2000),
PRIVET_CRASH_SEED which. Needs root, loop devices, mkfs.ext4 and QEMU.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.crash.machine import Recorded, record
from tests.crash.recorder import Chance, entries, states
from tests.crash.workloads import WORKLOADS, judged
from tests.house import ROOT

STATES = int(os.environ.get("PRIVET_CRASH_STATES", "2000"))
SEED = os.environ.get("PRIVET_CRASH_SEED", "") or secrets.token_hex(4)
SHARES = {"files": 2, "store": 1, "queue": 1}
TWIN_STATES = 100
TWINS = (("files", "no directory fsync"), ("files", "no fsync"), ("store", "no fsync"), ("queue", "no fsync"))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Recorded]:
    """Give the record of every workload, good ones and twins, from one machine."""
    jobs = [*((name, "") for name in WORKLOADS), *TWINS]
    begun = time.monotonic()
    made = record(jobs, tmp_path_factory.mktemp("cards"))
    print(f"recorded {len(made)} cards in {time.monotonic() - begun:.0f} s")
    return {(one.name, one.twin): one for one in made}


def child(name: str, wanted: int, first: str, kept: str, folder: str) -> None:
    """Make and judge the states in the namespace, and print what was found."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", folder], check=True)
    state_file, place = Path(folder) / "state", Path(folder) / "place"
    place.mkdir()
    recorded = list(entries(Path(kept)))
    count = {"entries": len(recorded), "flushes": sum(one.flush for one in recorded), "states": 0, "unflushed": 0}
    amiss: list[str] = []
    begun = time.monotonic()
    for state in states(Path(first).read_bytes(), recorded, wanted, Chance(f"{SEED}/{name}")):
        state_file.write_bytes(state.content)
        subprocess.run(["mount", "-o", "loop", str(state_file), str(place)], check=True)
        verdict = judged(WORKLOADS[name], str(place), state.reported)
        subprocess.run(["umount", str(place)], check=True)
        count["states"] += 1
        count["unflushed"] += state.unflushed > 0
        if verdict:
            amiss.append(f"cut after entry {state.cut}, {state.choice} kept, {state.reported} reported: {verdict}")
    count["ms each"] = round((time.monotonic() - begun) * 1000 / max(1, count["states"]))
    print(json.dumps({"count": count, "amiss": amiss}))


def replayed(one: Recorded, wanted: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Make and judge the states in a mount namespace of their own; return the counts and what is amiss."""
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__]
    done = subprocess.run(
        [*argv, one.name, str(wanted), str(one.first), str(one.record), str(folder)],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PRIVET_CRASH_SEED": SEED},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{one.name} {one.twin!r}: {found['count']}, amiss {len(found['amiss'])}; seed {SEED}")
    return found["count"], found["amiss"]


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_state_holds_what_was_reported(
    name: str, records: dict[tuple[str, str], Recorded], tmp_path: Path
) -> None:
    """Thousands of states, in order, lossy and torn: nothing reported is lost, nothing is neither old nor new."""
    wanted = STATES * SHARES[name] // sum(SHARES.values())
    count, amiss = replayed(records[name, ""], wanted, tmp_path)
    assert not amiss, (amiss[:5], f"PRIVET_CRASH_SEED={SEED}")
    assert count["states"] >= wanted * 9 // 10
    # The cuts were cuts: many came while something was on the way to the card.
    assert count["unflushed"] > count["states"] // 10, count
    assert count["flushes"] >= WORKLOADS[name].acts, count


@pytest.mark.parametrize(("name", "twin"), TWINS)
def test_twin_that_syncs_less_is_found(
    name: str, twin: str, records: dict[tuple[str, str], Recorded], tmp_path: Path
) -> None:
    """Known bad: the same with fewer fsyncs (for the store, synchronous=NORMAL) is amiss in many states."""
    count, amiss = replayed(records[name, twin], TWIN_STATES, tmp_path)
    assert len(amiss) > count["states"] // 10, (count, amiss[:3])


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), *sys.argv[3:6])
