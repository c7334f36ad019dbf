"""What was on a card before is gone before anything new is on it; sparse writers leave half of it there.

The card is told to forget everything, which takes a second where card and reader know that word. Whether it did, the
marks of the probe tell, and later every byte of the image's range is read. Where it did not, zeros are written.
"""

from collections.abc import Callable, Sequence

from agent.core.errors import WrongDisk
from provisioning.card.base import Piece
from provisioning.card.probe import Probe
from provisioning.card.progress import Progress
from provisioning.card.targets.target import BLOCK, CHUNK, MIB, Room, Target, flush, read_all, trouble, write_all

PLACES = 256  # that are looked at on a card that is said to be new
STRIDE = 1 << 30  # bytes that are forgotten in one turn


class Erasing:
    """The erasing of one card around one image."""

    def __init__(
        self, target: Target, pieces: Sequence[Piece], size: int, progress: Progress, check_stop: Callable[[], None]
    ) -> None:
        self._target, self._pieces, self._size = target, pieces, size
        self._progress, self._check_stop = progress, check_stop
        self.beyond = True  # whether zeros are written behind the image as well

    def run(self, probe: Probe) -> None:
        """Erase the whole card; afterwards it reads as zeros wherever the image will not be written."""
        self._progress.enter("erase", self._target.size)
        if not (self.forget() and probe.gone()):
            self.overwrite()

    def overwrite(self) -> None:
        """Write zeros over all that the image does not fill, to the end of the card."""
        ranges = [(piece.offset, piece.length) for piece in self._pieces[1:] if not piece.digest]
        end = self._target.size if self.beyond else self._size
        ranges += [(at, min(CHUNK, end - at)) for at in range(self._size, end, CHUNK)]
        self._progress.enter("erase", sum(length for _, length in ranges))
        room = Room()
        for offset, length in ranges:
            self._check_stop()
            write_all(self._target, offset, room.view[:length])
            self._progress.add(length)
        flush(self._target)

    def forget(self) -> bool:
        """Tell the card to forget all of it; False when card or reader know no such word."""
        for at in range(0, self._target.size, STRIDE):
            self._check_stop()
            length = min(STRIDE, self._target.size - at)
            try:
                if not self._target.discard(at, length):
                    return False
            except OSError as error:
                raise trouble(self._target.name, error, "erased", at) from None
            self._progress.add(length)
        flush(self._target)
        return True


def unused(target: Target, start: int, room: Room) -> None:
    """Refuse a card that holds anything at places all over, from `start` on: it is not as new as it was said to be."""
    view, last = room.view[:BLOCK], target.size - BLOCK
    for place in (start + (last - start) * part // PLACES for part in range(PLACES + 1)) if start <= last else ():
        read_all(target, place // BLOCK * BLOCK, view)
        if view[0] not in {0x00, 0xFF} or view.tobytes() != bytes((view[0],)) * BLOCK:
            raise WrongDisk(f"{target.name} is no new card: something is at {place // MIB} MiB; leave out --new-cards")
