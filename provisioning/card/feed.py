"""One card's own stream of chunks: a thread reads ahead, so that reading and writing overlap.

Each card has its own, with a bound of its own. A slow card keeps back nobody but itself, and what it has fallen behind
with is read again from the page cache, not kept.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from provisioning.card.base import Piece
from provisioning.card.targets.target import Room

DEPTH = 4  # chunks in memory for one card
Read = Callable[[int, memoryview], None]


class Feed:
    """Iterate over pieces and what they hold; a view is good until the next one is asked for."""

    def __init__(self, read: Read, pieces: Sequence[Piece]) -> None:
        self._read = read
        self._pieces = pieces
        self._free: queue.SimpleQueue[Room | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[Piece, Room] | BaseException | None] = queue.SimpleQueue()
        for _ in range(DEPTH):
            self._free.put(Room())
        self._thread = threading.Thread(target=self._fill, name="feed", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._free.put(None)
        self._over = True
        self._thread.join()

    _over = False

    def __iter__(self) -> Iterator[tuple[Piece, memoryview]]:
        while (given := self._full.get()) is not None:
            if isinstance(given, BaseException):
                raise given
            piece, room = given
            yield piece, room.view[: piece.length]
            self._free.put(room)

    def _fill(self) -> None:
        try:
            for piece in self._pieces:
                room = self._free.get()
                if room is None or self._over:
                    return
                self._read(piece.offset, room.view[: piece.length])
                self._full.put((piece, room))
        except BaseException as error:  # noqa: BLE001 - whoever iterates raises it
            self._full.put(error)
        else:
            self._full.put(None)
