"""What runs inside the machine: each workload on its card, each report marked on the card itself."""

import json
import mmap
import os
import struct
import subprocess
import sys
import time

from tests.crash.workloads import MARKS, SECTOR, TWINS, WORKLOADS

PLACE = "/run/card"


class Marks:
    """Notes, straight onto the card and in order with what the file system writes, how much was reported as done."""

    def __init__(self, device: str) -> None:
        self.number = os.open(device, os.O_WRONLY | os.O_DIRECT)  # no flush comes of it: that would help the workload
        self.sector = mmap.mmap(-1, mmap.PAGESIZE)

    def put(self, reported: int) -> None:
        """Write one mark."""
        self.sector[:8] = struct.pack("<Q", reported)
        os.pwritev(self.number, [memoryview(self.sector)[:SECTOR]], MARKS)


def work(name: str, twin: str, device: str) -> int:
    """Do the acts of one workload; return how long it took (ms)."""
    begun = time.monotonic()
    workload = WORKLOADS[name]
    os.makedirs(PLACE, exist_ok=True)
    subprocess.run(["mount", "-t", "ext4", device, PLACE], check=True)
    marks = Marks(device)
    reports = workload.work(PLACE, TWINS[twin], bool(twin))
    for _ in range(workload.acts):
        marks.put(next(reports))
    subprocess.run(["umount", "--lazy", PLACE], check=True)  # the power goes before anything more is written
    return round((time.monotonic() - begun) * 1000)


def main() -> None:
    """Work through the plan beside us; a line for each, and one at the end."""
    with open(sys.argv[1], encoding="utf-8") as file:
        plan = json.load(file)
    for row in plan:
        print(f"card {row['name']} {row['twin']!r}: {work(**row)} ms", flush=True)
    print("all cards are done", flush=True)


if __name__ == "__main__":
    main()
