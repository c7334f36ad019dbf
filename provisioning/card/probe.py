"""Whether a card is as large as it says, found in a second, before anything is written to it for long.

A counterfeit card of 8 GB that calls itself 128 GB drops what lies beyond, or writes it over what lies before: then
the address lost its upper bits, so a mark at a power of two lands on an earlier one. The marks beyond the image stay
until the end: by then everything that the card could have kept in its cache has been driven out.
"""

import secrets
from hashlib import sha256

from agent.core.errors import BadCard
from provisioning.card.targets.target import BLOCK, MIB, Room, Target, empty, flush, read_all, write_all

SPREAD = 32  # marks at equal distances, beside those at powers of two
FIRST = 20  # 2^20: nothing smaller is a card


class Probe:
    """The marks of one run on one card; each block is different, and different in each run."""

    def __init__(self, target: Target, beyond: int) -> None:
        self._target = target
        self._seed = secrets.token_bytes(16)
        self._room = Room(BLOCK)
        self.places = places(target.size)
        self.beyond = [place for place in self.places if place >= beyond]

    def try_size(self) -> None:
        """Write every mark, and read every mark; BadCard when the card is smaller than it says."""
        self.plant(self.places)
        self.check(self.places)

    def plant(self, where: list[int]) -> None:
        """Write marks, the highest last."""
        for place in where:
            self._room.view[:] = self._mark(place)
            write_all(self._target, place, self._room.view)
        flush(self._target)

    def check(self, where: list[int]) -> None:
        """Read marks; BadCard when one is not there."""
        for place in where:
            read_all(self._target, place, self._room.view)
            if bytes(self._room.view) != self._mark(place):
                name, size = self._target.name, self._target.size
                raise BadCard(
                    f"{name} says that it has {size // MIB} MiB and does not keep what is written at"
                    f" {place // MIB} MiB; it is counterfeit or worn out: use another card"
                )

    def gone(self) -> bool:
        """Say whether every mark reads as zeros now: the card did forget what it was told to forget."""
        for place in self.places:
            read_all(self._target, place, self._room.view)
            if not empty(self._room.view):
                return False
        return True

    def clear(self) -> None:
        """Overwrite the marks beyond the image, and see that they are overwritten."""
        for place in self.beyond:
            self._room.view[:] = bytes(BLOCK)
            write_all(self._target, place, self._room.view)
        flush(self._target)
        for place in self.beyond:
            read_all(self._target, place, self._room.view)
            if not empty(self._room.view):
                raise BadCard(
                    f"{self._target.name} does not keep what is written at {place // MIB} MiB; use another card"
                )

    def _mark(self, place: int) -> bytes:
        return sha256(self._seed + place.to_bytes(8, "big")).digest() * (BLOCK // 32)


def places(size: int) -> list[int]:
    """Return where marks stand: powers of two, the middle between them, equal distances, and the last block."""
    last = (size // BLOCK - 1) * BLOCK
    powers = [1 << power for power in range(FIRST, 64) if 1 << power <= last]
    found = {
        *powers,
        *(3 * power // 2 for power in powers),
        *(size * part // SPREAD for part in range(1, SPREAD)),
        last,
    }
    return sorted(place // BLOCK * BLOCK for place in found if BLOCK <= place <= last)
