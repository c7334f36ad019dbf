"""What the tests of the queue share: records that say which they are, and a quick device."""

import os

import cbor2

from agent.system.ages import NAME
from agent.system.door import System
from agent.system.queue import START, Place, Queue
from agent.system.segment import Row
from agent.system.simulated.system import SimulatedSystem

PLACE = "/var/lib/privet/queue/comfort"
OWNER = (os.getuid(), os.getgid())


class Card(SimulatedSystem):
    """A simulated device without programs, quick to make: its disk alone matters here."""

    def _each_program(self, act: str) -> None:
        """There is none."""


def row(boot: int, seq: int, size: int = 30) -> Row:
    """A record whose body says which it is."""
    return Row(boot=boot, seq=seq, body=cbor2.dumps([boot, seq, bytes([seq % 256]) * size]))


def rows(boot: int, first: int, last: int, size: int = 30) -> tuple[Row, ...]:
    """Records of a boot."""
    return tuple(row(boot, seq, size) for seq in range(first, last + 1))


def queue(system: System, limit: int = 1 << 20, segment: int = 512) -> Queue:
    """The queue under test, with small segments so that little makes many."""
    return Queue(system, PLACE, limit, segment, OWNER)


def everything(one: Queue, some: int = 7) -> list[Row]:
    """Read the whole queue as a guard does after a reconnection."""
    found: list[Row] = []
    after: Place = START
    while part := one.pending(after, some):
        assert len(part) <= some
        found += part
        after = (part[-1].boot, part[-1].seq)
    return found


def segments(system: System) -> list[str]:
    """The files of the queue."""
    return [PLACE + "/" + name for name in system.entries(PLACE) if name != NAME]


def prepared() -> SimulatedSystem:
    """A device whose directories are there since long ago."""
    system = Card()
    system.make_directory(PLACE, 0o700, *OWNER)
    return system
