"""What a batch of the queue costs the card, file system's journal included: counted by the kernel on a real ext4.

Each batch is followed by syncfs(2), which writes what the kernel's own timers write within half a minute: the running
transaction, and the inode in its place. On a card where batches are a minute apart nothing of that is shared between
two of them (seen so on a loop device over five minutes: 5.0 blocks a batch, as here).

A file whose blocks were laid down before, as zeros, is no cheaper: each write gives the inode another time, which the
journal's timer commits. What counts is how often something is made durable, not how much.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.segment import Row
from provisioning.profile.catalogue import shipped
from provisioning.profile.inherit import load
from provisioning.profile.words import seconds
from tests.house import ROOT

BATCHES = 60
BODY = 190  # bytes of a record of two readings, sealed
BLOCK = 4096
DAY = 86400
BUDGET = 20_000_000  # bytes a day
LAID = 64 << 10  # bytes laid down before
COARSE = 5  # CLOCK_REALTIME_COARSE, time.h


class Card:
    """An ext4 of the usual block size on a loop device, mounted in a namespace of its own; lives in the child only."""

    def __init__(self, image: str, place: str) -> None:
        self.place = place
        tool("mkfs.ext4", "-q", "-b", str(BLOCK), "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        tool("mount", "-o", "loop,noatime", image, place)
        self.device = tool("findmnt", "--noheadings", "--output", "SOURCE", place).rpartition("/")[2]
        self.folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)

    def settle(self) -> None:
        """Write what the kernel would write later."""
        if ctypes.CDLL(None, use_errno=True).syncfs(self.folder):
            raise OSError(ctypes.get_errno(), "syncfs")

    def written(self) -> float:
        """Return the blocks that reached the device since it is there."""
        return int(Path(f"/sys/block/{self.device}/stat").read_text().split()[6]) * 512 / BLOCK

    def cost(self, batch: Callable[[int], None], each: int = 1) -> float:
        """Return the blocks a batch costs, when so many of them come between two times that the kernel writes."""
        batch(0)
        self.settle()
        before = self.written()
        for number in range(1, BATCHES + 1):
            batch(number)
            if number % each == 0:
                self.settle()
        return (self.written() - before) / BATCHES


def tick() -> None:
    """Wait for another time than that of the last write, by the clock that inodes have theirs from."""
    before = time.clock_gettime_ns(COARSE)
    while time.clock_gettime_ns(COARSE) == before:
        pass


def tool(*argv: str) -> str:
    """Run a tool."""
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def queued(card: Card) -> Callable[[int], None]:
    """Append batches to a queue as it ships."""
    queue = Queue(RealSystem(), f"{card.place}/queue", 16 << 20, owner=(os.getuid(), os.getgid()))
    return lambda number: queue.append([Row(boot=1, seq=number + 1, body=bytes(BODY))])


def laid(card: Card) -> Callable[[int], None]:
    """Write batches over zeros that were there before."""
    number = os.open(f"{card.place}/laid", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(number, bytes(LAID))
    os.fsync(number)

    def batch(at: int) -> None:
        tick()
        os.pwrite(number, b"\xa5" * BODY, at * BODY)
        os.fdatasync(number)

    return batch


def child(image: str, place: str) -> None:
    """Measure, and print the figures."""
    card = Card(image, place)
    figures = {"queue": card.cost(queued(card)), "laid": card.cost(laid(card)), "idle": card.cost(lambda _: None)}
    print(json.dumps(figures))


def measured(folder: Path) -> dict[str, float]:
    """Measure in a mount namespace that ends with the child."""
    (folder / "place").mkdir()
    with (folder / "image").open("wb") as made:
        made.truncate(256 << 20)
    argv = ["unshare", "--mount", sys.executable, "-m", "tests.device.test_card_writes"]
    done = subprocess.run(
        [*argv, str(folder / "image"), str(folder / "place")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def busiest() -> dict[str, int]:
    """Return how many batches a day each profile that ships makes: of each purpose, one in its shortest bucket."""
    catalogue, found = shipped(), {}
    for path in sorted((ROOT / "device_profiles").glob("*.toml")):
        fields = load(path, catalogue).profile.field
        shortest: dict[str, int] = {}
        for field in fields:
            shortest[field.purpose] = min(seconds(field.bucket), shortest.get(field.purpose, DAY))
        found[path.stem] = sum(DAY // bucket for bucket in shortest.values())
    return found


def test_what_a_batch_costs_the_card(tmp_path: Path):
    """Five blocks and little more, as the ninety days reckon: with every profile that ships, under 20 MB a day.

    At one a minute it is above that; blocks laid down before would change nothing. A file system on which nothing is
    done writes nothing, so what is counted is ours.
    """
    found = measured(tmp_path)
    batches = busiest()
    print(found, batches)
    assert found["idle"] == 0
    assert 4.5 <= found["queue"] <= 5.7
    assert batches["base"] == DAY / 120
    assert max(batches.values()) * found["queue"] * BLOCK < BUDGET < found["queue"] * BLOCK * DAY / 60
    assert found["laid"] > found["queue"] - 1


if __name__ == "__main__":
    child(*sys.argv[1:])
