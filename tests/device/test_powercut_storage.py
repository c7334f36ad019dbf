"""Power cuts on a real ext4 file system under the store and the queue: what was reported safe is there, in order.

Cuts as in test_powercut_ext4.py: the writer is stopped, the file system shut down without its log, mounted anew.
"""

import json
import os
import secrets
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.core.clock import Clock
from agent.core.errors import PrivetError
from agent.core.secret import Secret
from agent.system.calls import Calls
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.segment import Row
from agent.system.simulated.faults import NoSync
from agent.system.store import Store
from agent.system.vault import DirectVault
from tests.device.test_powercut_ext4 import REPOSITORY, Disk, refuse_quietly_only_when_told

CUTS = 30
PLACE = "/queue"


def store_at(place: str) -> Store:
    """Open the store on the disk."""
    return Store(place + "/state.db", DirectVault(Secret(bytes(32))), lambda: Clock(boot=1, uptime=1, wall=1))


def puts(place: str, careless: bool) -> Iterator[int]:
    """Put one value and one entry after the other; the number of each that was reported safe."""
    store = store_at(place)
    if careless:
        store._rows.execute("PRAGMA synchronous=NORMAL")
    number = store.get("number") or 0
    while True:
        number += 1
        store.put({"number": number, "text": "x" * 400}, [("counted", {"number": number})])
        yield number


def stored(place: str) -> int:
    """Return the newest number in a store that is whole, -1 for another."""
    store = store_at(place)
    number = store.get("number") or 0
    verdict = store.verify()
    store.close()
    return number if verdict.damage == "" and verdict.count == number else -1


def appends(place: str, careless: bool) -> Iterator[int]:
    """Append batches of three records; the last number of each that was reported safe."""
    system = RealSystem(place, NoSync(Calls(), directories=True, files=True) if careless else Calls())
    boot, last = 1 + newest(place), 0
    queue = Queue(system, PLACE, 64 << 20, 4096)
    while True:
        queue.append([Row(boot=boot, seq=last + n, body=b"%d" % (last + n) * 90) for n in (1, 2, 3)])
        last += 3
        yield last


def newest(place: str) -> int:
    """Return the newest boot in the queue."""
    rows = Queue(RealSystem(place), PLACE, 64 << 20, 4096).pending(limit=1 << 20)
    return rows[-1].boot if rows else 0


def queued(place: str) -> int:
    """Return up to which number the newest boot is whole and in order, -1 when anything is amiss; then empty it."""
    queue = Queue(RealSystem(place), PLACE, 64 << 20, 4096)
    rows = queue.pending(limit=1 << 20)
    whole = [row.body == b"%d" % row.seq * 90 and row.seq == at for at, row in enumerate(rows, 1)]
    queue.erase()
    return len(rows) if all(whole) and not queue.lost else -1


WORK: dict[str, tuple[Callable[[str, bool], Iterator[int]], Callable[[str], int]]] = {
    "store": (puts, stored),
    "queue": (appends, queued),
}


def child(kind: str, careless: bool, image: str, place: str) -> None:
    """Do the cuts in the namespace and print the count."""
    write, look = WORK[kind]
    disk = Disk(image, place)
    disk.mount()
    count = {"cuts": 0, "reported": 0, "lost": 0, "broken": 0}
    for _ in range(CUTS):
        reading, writing = os.pipe()
        writer = os.fork()
        if not writer:
            for number in write(place, careless):
                os.write(writing, struct.pack("I", number))
        os.close(writing)
        first = os.read(reading, 4)  # the writer is under way
        time.sleep(secrets.randbelow(60) / 1000)
        disk.cut(writer)
        told = first
        while part := os.read(reading, 1 << 16):
            told += part
        os.close(reading)
        count["cuts"] += 1
        count["reported"] += len(told) // 4
        try:
            found = look(place)
        except PrivetError:
            found = -1
        count["broken"] += found < 0
        count["lost"] += found < struct.unpack("I", told[-4:])[0]
        if found < 0:
            break
    disk.unmount()
    print(json.dumps(count))


def cuts(kind: str, careless: bool, tmp_path: Path) -> dict[str, int]:
    """Run the cuts in a mount namespace of their own and return the count."""
    refuse_quietly_only_when_told()
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__]
    argv += [kind, "careless" if careless else "", str(image), str(place)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_store_keeps_what_it_reported(tmp_path: Path) -> None:
    """Cuts at any time: the value and every journal entry reported safe are there, and the journal verifies."""
    count = cuts("store", False, tmp_path)
    assert (count["cuts"], count["lost"], count["broken"]) == (CUTS, 0, 0) and count["reported"] > 2 * CUTS, count


def test_a_store_that_syncs_less_loses(tmp_path: Path) -> None:
    """Known bad: with synchronous=NORMAL, a common tip, reported puts are lost."""
    assert cuts("store", True, tmp_path)["lost"] > CUTS // 3


def test_the_queue_keeps_what_it_reported(tmp_path: Path) -> None:
    """Cuts at any time: every batch reported safe is there, whole, in order, without a hole."""
    count = cuts("queue", False, tmp_path)
    assert (count["cuts"], count["lost"], count["broken"]) == (CUTS, 0, 0) and count["reported"] > 2 * CUTS, count


def test_a_queue_without_sync_loses(tmp_path: Path) -> None:
    """Known bad: without fsync, reported batches are lost."""
    assert cuts("queue", True, tmp_path)["lost"] > CUTS // 3


if __name__ == "__main__":
    child(sys.argv[1], bool(sys.argv[2]), *sys.argv[3:5])
