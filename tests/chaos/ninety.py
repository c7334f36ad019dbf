"""Ninety days without a network, on a clock of its own: `python -m tests.chaos.ninety FOLDER SECONDS LIMIT`.

A process of its own, so that its memory is what is measured. Lane, queue and vault are real, the disk is a real folder;
each batch of readings is a number of its own. It prints one JSON line: what was written, kept, and came in the end.
"""

import gc
import json
import os
import sys
from pathlib import Path

from agent.core.clock import Clock
from agent.core.secret import Secret
from agent.core.telemetry import Message
from agent.guard.egress import Ledger
from agent.guard.lane import Lane, Mine
from agent.system.calls import Calls
from agent.system.queue import Queue
from agent.system.real import RealSystem
from agent.system.vault import DirectVault
from tests.chaos.pair import DEVICE, FLEET, HOME, Pair, Sent
from tests.chaos.soak import PURPOSE
from tests.collector.device import CONSENT

DAYS = 90
START_EACH = 10  # days after which the device starts anew
PAGE = 4096
JOURNALED = 3  # blocks that ext4 writes for a sync that made a file longer: descriptor, inode, commit
ROUND = 20  # times a second that messages and answers cross


class Wear(Calls):
    """The real calls, with what they bring to a card counted: bytes, and blocks as ext4 would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.blocks = self.syncs = 0
        self.dirty: dict[int, set[int]] = {}

    def write(self, number: int, content: memoryview) -> int:
        """Write and count."""
        taken = super().write(number, content)
        end = os.lseek(number, 0, os.SEEK_CUR)
        self.dirty.setdefault(number, set()).update(range((end - taken) // PAGE, (end - 1) // PAGE + 1))
        self.bytes += taken
        return taken

    def datasync(self, number: int) -> None:
        """Sync and count."""
        self.blocks += len(self.dirty.pop(number, ())) + 1
        self.syncs += 1
        super().datasync(number)

    def fsync(self, number: int) -> None:
        """Sync and count."""
        self.blocks += len(self.dirty.pop(number, ())) + 1
        self.syncs += 1
        super().fsync(number)


class Calendar(RealSystem):
    """This machine's disk, and a clock that its owner sets."""

    wall, uptime = 1_795_489_000, 1000

    def clock(self) -> Clock:
        """Look at that clock."""
        return Clock(wall=self.wall, boot=self.boot, uptime=self.uptime)

    def sleep(self, seconds: int) -> None:
        """Let time pass."""
        self.wall += seconds
        self.uptime += seconds


class Weighed(Lane):
    """A lane that weighs what it seals: the payload, minimised and packed."""

    plain: list[int]

    def write(self, plains: list[bytes], uptime: int) -> None:
        """Weigh, then write."""
        self.plain[:] = [sum(self.plain) + sum(map(len, plains))]
        super().write(plains, uptime)


class Away(Pair):
    """A device that keeps a batch of readings every so many seconds, and its collector."""

    def __init__(self, folder: Path, each: int, limit: int) -> None:
        self.wear = Wear()
        self.system = Calendar(calls=self.wear)
        self.each, self.largest, self.number = each, 0, 0
        self.plain: list[int] = []  # bytes that were sealed
        super().__init__(folder, limit)

    def restart(self) -> None:
        """Begin a new start of the device over what is on the disk."""
        self.boot += 1
        self.system.boot, self.system.uptime = self.boot, 10
        queue = Queue(self.system, str(self.folder / "queue"), self.limit, owner=(os.getuid(), os.getgid()))
        mine = Mine(fleet=FLEET, device=DEVICE, boot=self.boot)
        vault, ledger = DirectVault(Secret(bytes(32))), Ledger(self.system, self.store)
        self.lane = Weighed(mine, PURPOSE, [HOME], queue, vault, self.store, ledger)
        self.lane.told = {"home": CONSENT}
        self.lane.plain = self.plain

    def live(self, days: int) -> None:
        """Take readings for so many days: two each five minutes, or two a batch when that is more often."""
        count = max(1, self.each // 300) * 2
        for _ in range(days * 86400 // self.each):
            self.system.sleep(self.each)
            at = self.system.wall
            rows = [row(self.number * count + n, at // 60 * 60) for n in range(count)]
            self.lane.keep(rows, (), self.system.uptime)
            self.number += 1
            self.largest = max(self.largest, self.lane.queue.size)
            if self.lane.ledger.due():
                self.lane.ledger.keep()

    def come_back(self) -> dict[str, int]:
        """Nobody answers for an hour; then everything goes out. Return what was sent, at most at once, and how long."""
        silent = most = sent = seconds = 0
        self.lane.rewind()
        for _ in range(3600):
            self.system.sleep(1)
            silent += len(self.hand_out())
        while self.waiting and seconds < 3600:
            self.system.sleep(1)
            seconds += 1
            for _ in range(ROUND):
                messages = self.hand_out()
                most, sent = max(most, len(messages)), sent + len(messages)
                self.uptime = self.system.uptime
                self.answer(self.give(payload for _, payload in messages))
        return {"silent": silent, "most": most, "sent": sent, "seconds": seconds}

    def hand_out(self) -> list[Sent]:
        """Return what the courier is given in one round: never more than it may have in hand."""
        return self.lane.to_send(20, self.system.uptime)


def row(value: int, at: int) -> Message:
    """Make one reading."""
    return Message(name="temperature", unit="Cel", purpose="comfort", scale=0, value=value, at=at)


def resident() -> int:
    """Return the bytes of memory in use now, of this process alone."""
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def main(folder: str, each: int, limit: int) -> None:
    """Live, measure, come back, and say what happened."""
    away = Away(Path(folder), each, limit)
    memory = []
    for _ in range(DAYS // START_EACH):
        away.live(START_EACH)
        memory.append(resident())
        away.restart()
    told = {"readings": away.number * max(1, each // 300) * 2, "payload": sum(away.plain), "largest": away.largest}
    told |= {"journal": away.wear.syncs * JOURNALED}
    told |= {"bytes": away.wear.bytes, "blocks": away.wear.blocks, "records": away.lane.queue.count}
    told |= away.come_back()
    read = [int(reading.value) for reading in away.collector.readings()]
    told |= {"read": len(read), "different": len(set(read)), "gaps": len(list(away.collector.store.gaps()))}
    first = min(read, default=0)
    told |= {"first": first, "whole": int(sorted(read) == list(range(first, told["readings"])))}
    print(json.dumps({**told, "memory": memory}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
