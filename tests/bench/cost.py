"""What processes cost: seconds of processor, bytes handed to the disk; by the kernel's own count."""

import os
from collections.abc import Mapping
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of its children, those that ended included."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return sum(map(int, fields[11:15])) / TICK + sum(cpu(child) for child in children(pid))


def written(pid: int) -> int:
    """Return the bytes a process and its children have handed to the disk: whole pages, as the disk gets them."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
    return own + sum(written(child) for child in children(pid))


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Meter:
    """The cost of named processes from now on."""

    def __init__(self, pids: Mapping[str, list[int]]) -> None:
        self.pids = pids
        self._cpu = {name: sum(map(cpu, each)) for name, each in pids.items()}
        self._written = {name: sum(map(written, each)) for name, each in pids.items()}

    def cpu(self) -> dict[str, float]:
        """Return the CPU seconds since."""
        return {name: sum(map(cpu, each)) - self._cpu[name] for name, each in self.pids.items()}

    def written(self) -> dict[str, int]:
        """Return the bytes handed to the disk since."""
        return {name: sum(map(written, each)) - self._written[name] for name, each in self.pids.items()}
