"""Cards as they fail: a target around another that misbehaves in one way, and counts how often it did."""

import errno
import os
from collections.abc import Callable

from provisioning.card.targets.target import Seen, Target


class Faulty:
    """A card that is good, until a subclass overrides what is bad about it. `fired` counts the misbehaviour."""

    def __init__(self, target: Target) -> None:
        self.card = target
        self.name, self.size = target.name, target.size
        self.fired = 0

    def read(self, offset: int, view: memoryview) -> int:
        """Read what is there."""
        return self.card.read(offset, view)

    def write(self, offset: int, view: memoryview) -> int:
        """Write what is given."""
        return self.card.write(offset, view)

    def discard(self, offset: int, length: int) -> bool:
        """Forget a range."""
        return self.card.discard(offset, length)

    def flush(self) -> None:
        """Flush."""
        self.card.flush()

    def seen(self) -> Seen:
        """Say which medium is there."""
        return self.card.seen()

    def close(self) -> None:
        """Close it."""
        self.card.close()


class DropsWrites(Faulty):
    """Says that it wrote, and did not, what touches one range."""

    def __init__(self, target: Target, start: int, end: int) -> None:
        super().__init__(target)
        self.start, self.end = start, end

    def write(self, offset: int, view: memoryview) -> int:
        """Take the writes to the range without doing them."""
        if offset < self.end and offset + len(view) > self.start:
            self.fired += 1
            return len(view)
        return super().write(offset, view)


class FlipsBit(Faulty):
    """Has one weak cell: a bit that always reads as the other value."""

    def __init__(self, target: Target, place: int) -> None:
        super().__init__(target)
        self.place = place

    def write(self, offset: int, view: memoryview) -> int:
        """Write, with one bit turned over."""
        if offset <= self.place < offset + len(view):
            self.fired += 1
            view = memoryview(bytearray(view))
            view[self.place - offset] ^= 0x10
        return super().write(offset, view)


class Wraps(Faulty):
    """A counterfeit: says it is `size` large and writes over its beginning what lies beyond what it really has."""

    def __init__(self, target: Target, size: int) -> None:
        super().__init__(target)
        self.real, self.size = target.size, size

    def seen(self) -> Seen:
        """Lie about the size."""
        return self.card.seen()._replace(size=self.size)

    def _turn(self, call: Callable[[int, memoryview], int], offset: int, view: memoryview) -> int:
        self.fired += offset + len(view) > self.real
        place = offset % self.real
        return call(place, view[: self.real - place])

    def read(self, offset: int, view: memoryview) -> int:
        """Read where the address ends up."""
        return self._turn(self.card.read, offset, view)

    def write(self, offset: int, view: memoryview) -> int:
        """Write where the address ends up."""
        return self._turn(self.card.write, offset, view)

    def discard(self, offset: int, length: int) -> bool:
        """Know no such word."""
        return False


class Limbo(Wraps):
    """A counterfeit of the other kind: what lies beyond what it really has is dropped, and reads as zeros."""

    def _turn(self, call: Callable[[int, memoryview], int], offset: int, view: memoryview) -> int:
        if offset + len(view) <= self.real:
            return call(offset, view)
        self.fired += 1
        if call == self.card.read:
            view[:] = bytes(len(view))
        return len(view)


class Remembers(Limbo):
    """A counterfeit that keeps what was written lately in its cache, so that a quick look finds nothing wrong."""

    def __init__(self, target: Target, size: int, cache: int) -> None:
        super().__init__(target, size)
        self._cache, self._written = cache, 0
        self._lately: dict[int, tuple[int, bytes]] = {}

    def _turn(self, call: Callable[[int, memoryview], int], offset: int, view: memoryview) -> int:
        kept = self._lately.get(offset)
        if call == self.card.write:
            self._written += len(view)
            self._lately[offset] = (self._written, bytes(view))
        elif kept is not None and self._written - kept[0] < self._cache and len(kept[1]) == len(view):
            view[:] = kept[1]
            return len(view)
        return super()._turn(call, offset, view)


class Fails(Faulty):
    """Answers one of its calls, and every later one, with an error of the system."""

    def __init__(self, target: Target, number: int, after: int, call: str = "write") -> None:
        super().__init__(target)
        self.number, self.after, self.call = number, after, call
        self.count = 0

    def _count(self, call: str) -> None:
        if call != self.call:
            if self.fired and self.number == errno.ENODEV:
                raise OSError(self.number, os.strerror(self.number))
            return
        self.count += 1
        if self.count > self.after:
            self.fired += 1
            raise OSError(self.number, os.strerror(self.number))

    def read(self, offset: int, view: memoryview) -> int:
        """Read, while it can."""
        self._count("read")
        return super().read(offset, view)

    def write(self, offset: int, view: memoryview) -> int:
        """Write, while it can."""
        self._count("write")
        return super().write(offset, view)

    def flush(self) -> None:
        """Flush, while it can."""
        self._count("flush")
        super().flush()

    def seen(self) -> Seen:
        """Be seen, while it is there."""
        self._count("seen")
        return super().seen()


class Swapped(Faulty):
    """Is taken out after some calls, and another card put in, of the same kind and size."""

    def __init__(self, target: Target, other: Target, after: int) -> None:
        super().__init__(target)
        self.other, self.after = other, after
        self.count = 0

    def _now(self) -> Target:
        self.count += 1
        if self.count > self.after and self.card is not self.other:
            self.fired += 1
            self.card = self.other
        return self.card

    def read(self, offset: int, view: memoryview) -> int:
        """Read from the card that is there now."""
        return self._now().read(offset, view)

    def write(self, offset: int, view: memoryview) -> int:
        """Write to the card that is there now."""
        return self._now().write(offset, view)


class ShortWrites(Faulty):
    """Takes only the first part of what it is given, and says so, as the system may at any time."""

    def __init__(self, target: Target, most: int) -> None:
        super().__init__(target)
        self.most = most

    def write(self, offset: int, view: memoryview) -> int:
        """Write the first part."""
        self.fired += len(view) > self.most
        return super().write(offset, view[: self.most])


class KeepsOld(Faulty):
    """Says that it forgot what was on it, and forgot only what is not in one range."""

    def __init__(self, target: Target, start: int, end: int) -> None:
        super().__init__(target)
        self.start, self.end = start, end

    def discard(self, offset: int, length: int) -> bool:
        """Forget around the range."""
        self.fired += 1
        for start, end in ((offset, min(offset + length, self.start)), (max(offset, self.end), offset + length)):
            if start < end and not self.card.discard(start, end - start):
                return False
        return True


class Deaf(Faulty):
    """Is in a reader that knows no discard."""

    def discard(self, offset: int, length: int) -> bool:
        """Refuse."""
        self.fired += 1
        return False


class PowerCut(BaseException):
    """The instant after which nothing more reaches the card."""


class Cut(Faulty):
    """Loses its power at one of its writes; of what was not flushed, only the latest `kept` writes are on it then.

    A card may write its cache in any order, so the latest without the earlier is as likely as any other state.
    """

    def __init__(self, target: Target, at: int, kept: int) -> None:
        super().__init__(target)
        self.at, self.kept = at, kept
        self.count = 0
        self._held: list[tuple[int, bytes]] = []

    def write(self, offset: int, view: memoryview) -> int:
        """Hold the write back until it is flushed, or lost."""
        self._held.append((offset, bytes(view)))
        self.count += 1
        self._powered()
        if self.count == self.at:
            self.fired += 1
            latest = self._held[len(self._held) - self.kept :] if self.kept else []
            for place, content in latest:
                self.card.write(place, memoryview(content))
            raise PowerCut
        return len(view)

    def read(self, offset: int, view: memoryview) -> int:
        """Read what was written, flushed or not."""
        self._settle()
        return super().read(offset, view)

    def discard(self, offset: int, length: int) -> bool:
        """Forget a range, in order with the writes."""
        self._settle()
        return super().discard(offset, length)

    def flush(self) -> None:
        """Let everything reach the card."""
        self._settle()
        super().flush()

    def _powered(self) -> None:
        if self.fired:
            raise PowerCut

    def _settle(self) -> None:
        self._powered()
        for place, content in self._held:
            self.card.write(place, memoryview(content))
        self._held.clear()
