"""How much anybody may ask: pure counting, the clock is given."""

import ipaddress
from collections import OrderedDict

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
