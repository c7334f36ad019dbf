"""How much anybody may ask: pure counting, the clock is given."""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable

MOST_KNOWN = 10_000  # names that are remembered; the longest silent goes first


class Bucket:
    """Lets `most` questions through at once and `rate` a second after that, for each name of its own."""

    def __init__(self, most: float, rate: float) -> None:
        self._most, self._rate = most, rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Take one; return 0, or the seconds to wait."""
        left = self.left(name, now)
        if left < 1:
            return (1 - left) / self._rate
        self._put(name, left - 1, now)
        return 0

    def wait(self, name: str, now: float) -> float:
        """Return the seconds until one can be taken, and take none."""
        left = self.left(name, now)
        return 0 if left >= 1 else (1 - left) / self._rate

    def left(self, name: str, now: float) -> float:
        """Return how many are left."""
        had, at = self._left.get(name, (self._most, now))
        return min(self._most, had + max(0.0, now - at) * self._rate)

    def _put(self, name: str, left: float, now: float) -> None:
        self._left[name] = (left, now)
        self._left.move_to_end(name)
        while len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)


def neighbourhood(address: str) -> str:
    """Return what counts as one place: an IPv4 address, or the /64 of an IPv6 one, which is one household's."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return str(known)
    return str(ipaddress.ip_network((known, 64), strict=False))


class Porch:
    """Who has come and is not known yet: so many at most, and of one place fewer. Whoever comes is let onto it.

    One too many of a place costs that place its longest waiting; one too many at all, the place that has most here.
    So a stranger who sends thousands pushes out their own, and somebody else has their time.
    """

    def __init__(self, most: int, near: int) -> None:
        self.most, self.near = most, near
        self._waiting: dict[str, OrderedDict[Hashable, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, place: str) -> int:
        """Return how many of a place wait."""
        return len(self._waiting.get(place, ()))

    def come(self, who: Hashable, place: str) -> Hashable | None:
        """Let somebody in; return who has to go for it, if anybody."""
        gone = None
        if self.of(place) >= self.near:
            gone = self.push(place)
        elif self._count >= self.most:
            gone = self.push()
        self._waiting.setdefault(place, OrderedDict())[who] = None
        self._count += 1
        return gone

    def push(self, place: str = "") -> Hashable | None:
        """Take out the longest waiting of a place, or of the one that has most here; return them."""
        chosen = place or self._crowded()
        who = self.longest(chosen)
        if who is not None:
            self.go(who, chosen)
        return who

    def longest(self, place: str = "") -> Hashable | None:
        """Return who would be taken out."""
        return next(iter(self._waiting.get(place or self._crowded(), ())), None)

    def _crowded(self) -> str:
        return max(self._waiting, key=lambda name: len(self._waiting[name]), default="")

    def go(self, who: Hashable, place: str) -> None:
        """Forget somebody who has left or is known now."""
        waiting = self._waiting.get(place, OrderedDict())
        if who in waiting:
            del waiting[who]
            self._count -= 1
        if not waiting:
            self._waiting.pop(place, None)
