"""Choices that look like chance and can be made again: all of them follow from a seed."""

import hashlib


class Chance:
    """A stream of choices of its own for each name, so that one part's draws do not move another's."""

    def __init__(self, seed: str, name: str) -> None:
        self._name = f"{seed}/{name}"
        self._drawn = 0

    def whole(self, count: int) -> int:
        """Return 0 to count - 1."""
        self._drawn += 1
        return int.from_bytes(hashlib.sha256(f"{self._name}/{self._drawn}".encode()).digest()[:8], "big") % count

    def between(self, least: float, most: float) -> float:
        """Return a number of this range, in thousandths of it."""
        return least + (most - least) * self.whole(1001) / 1000

    def holds(self, percent: int) -> bool:
        """Return True so often."""
        return self.whole(100) < percent
