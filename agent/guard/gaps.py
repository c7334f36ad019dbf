"""What a lane has given up and its recipients may not know yet: told again when the record that tells it is lost too.

Every gap that was told is remembered, durably, with the place of the record that carries it, until that record or the
range itself is released. Gaps of one boot that touch each other become one, so that there are few of them.
"""

from collections.abc import Sequence

from agent.core.cose import MAX_SEQ
from agent.core.record import Record
from agent.guard.books import Store
from agent.system.queue import Place, Queue
from agent.system.segment import Lost


class Told(Record):
    """A gap, and the place of the record that carries it."""

    __slots__ = ("by", "gap")
    by: Place
    gap: Lost


class Gaps:
    """The gaps of one purpose that were told and not released."""

    def __init__(self, store: Store, purpose: str, queue: Queue) -> None:
        self._store = store
        self._name = f"gaps/{purpose}"
        rows = [Told(by=(b, s), gap=lost(row)) for b, s, *row in store.get(self._name) or ()]
        # Where the carrier is neither kept nor missed, it was released, or never reached the disk.
        self._told = [one for one in rows if queue.holds(one.by) or within(one.by, queue.lost)]
        self._next = self._told

    def __len__(self) -> int:
        return len(self._told)

    def to_tell(self, fresh: Sequence[Lost]) -> tuple[Lost, ...]:
        """Return the gaps for a batch: what was lost now, and what was told in records that are lost now."""
        told = joined([*fresh, *(one.gap for one in self._told if within(one.by, fresh))])
        while True:
            more = joined([*told, *(one.gap for one in self._told if touches(one.gap, told))])
            if more == told:
                return told
            told = more

    def note(self, first: Place, told: Sequence[Lost], fresh: Sequence[Lost]) -> None:
        """Remember, before the batch is appended, that its records from `first` on will tell these gaps."""
        boot, seq = first
        new = [Told(by=(boot, seq + n), gap=gap) for n, gap in enumerate(told)]
        kept = [one for one in self._told if not within(one.by, fresh) and not touches(one.gap, told)]
        self._next = [*kept, *new]
        if told:  # those that the new ones stand for stay until the batch is durable: a power cut may come before it
            self._put([*self._told, *new])

    def settle(self) -> None:
        """The batch is durable."""
        self._told = self._next

    def release(self, boot: int, seq: int) -> None:
        """Forget gaps whose carrier, or whose whole range, every recipient has acknowledged; kept at the next note."""
        self._told = [
            t for t in self._told if not (at_most(t.by, boot, seq) or at_most((t.gap.boot, t.gap.last), boot, seq))
        ]

    def forget(self) -> None:
        """Forget all: the records are destroyed."""
        self._told = []
        self._store.put({self._name: None})

    def _put(self, told: Sequence[Told]) -> None:
        rows = [[*one.by, one.gap.boot, one.gap.first, one.gap.last, one.gap.count] for one in told]
        self._store.put({self._name: rows})


def lost(row: Sequence[int]) -> Lost:
    """Read a gap as it is kept."""
    boot, first, last, count = row
    return Lost(boot=boot, first=first, last=last, count=count)


def at_most(place: Place, boot: int, seq: int) -> bool:
    """Say whether a place is in this boot, and not behind this number."""
    return place[0] == boot and place[1] <= seq


def within(place: Place, losses: Sequence[Lost]) -> bool:
    """Say whether a record is among those lost."""
    return any(one.boot == place[0] and one.first <= place[1] <= one.last for one in losses)


def touches(gap: Lost, others: Sequence[Lost]) -> bool:
    """Say whether a gap overlaps another of its boot, or follows it, or is followed by it."""
    return any(one.boot == gap.boot and gap.first <= one.last + 1 and one.first <= gap.last + 1 for one in others)


def joined(gaps: Sequence[Lost]) -> tuple[Lost, ...]:
    """Make one of gaps that touch; a count that one of them does not know is not known."""
    made: list[Lost] = []
    for one in sorted(gaps, key=lambda gap: (gap.boot, gap.first, gap.last)):
        if not made or not touches(one, made[-1:]):
            made.append(one)
            continue
        before = made.pop()
        last = max(before.last, one.last)
        known = before.count and one.count and last < MAX_SEQ
        count = min(before.count + one.count, last - before.first + 1) if known else 0
        if (one.first, one.last) == (before.first, before.last):
            count = max(before.count, one.count)
        made.append(Lost(boot=one.boot, first=before.first, last=last, count=count))
    return tuple(made)
