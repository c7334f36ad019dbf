"""Flash a device, be killed at one write: `python -m tests.fleet.site.killed IMAGE SLOT DEVICE WRITE`, 0 for never."""

import os
import signal
import sys
from pathlib import Path

from agent.core.slot import SIZE
from provisioning.card.base import Base, Slot
from provisioning.card.flash import Job
from provisioning.card.progress import Progress
from provisioning.card.targets.block import BlockTarget
from provisioning.card.targets.faulty import Faulty


class Killed(Faulty):
    """Kills the process that writes, at one of its writes."""

    def __init__(self, target: BlockTarget, at: int) -> None:
        super().__init__(target)
        self.at = at

    def write(self, offset: int, view: memoryview) -> int:
        """Write a half of it, and die."""
        self.fired += 1
        if self.fired == self.at:
            super().write(offset, view[: len(view) // 1024 * 512])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(offset, view)


def main(image: str, slot: str, device: str, at: str) -> None:
    """Flash it; print the stages."""
    progress = Progress()
    with Base(os.open(image, os.O_RDONLY), image, Slot(int(slot), SIZE)) as base:
        target = Killed(BlockTarget(Path("/dev") / device), int(at))
        Job(target, base, b"S" * SIZE, progress).run()
        target.close()
    print(" ".join(progress.seconds), target.fired)


if __name__ == "__main__":
    main(*sys.argv[1:])
