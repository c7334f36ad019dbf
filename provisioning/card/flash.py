"""One card from whatever it was to a device of its own: probed, erased, written, read back, and only then startable.

    block 0 becomes the mark "unfinished" → the card is as large as it says → what was on it is erased → the image but
    block 0 → all of it read back → block 0 → the slot → both read back

So a card that was cut off at any point starts nothing, or is whole. The same medium must be in the reader all along.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from hmac import compare_digest

from agent.core.errors import BadCard, Failed, PrivetError, Refused
from provisioning.card import mark
from provisioning.card.base import Base, Piece
from provisioning.card.erase import Erasing, unused
from provisioning.card.feed import Feed
from provisioning.card.mark import Mark
from provisioning.card.probe import Probe
from provisioning.card.progress import Progress
from provisioning.card.targets.target import BLOCK, CHUNK, MIB, Room, Target, empty, flush, read_all, still, write_all

CHECKPOINT = 256 * MIB


class Leftover(BadCard):
    """The card did not forget what it was told to forget."""


class Job:
    """The writing of one card. `slot` is what this card alone gets; `before_slot` is called right before that is.

    `new` is the word of a person that no card was ever used: then zeros are not written behind the image where a reader
    knows no discard, which takes a quarter of an hour for 32 GB. The word is tried: places all over must be blank.
    """

    def __init__(
        self, target: Target, base: Base, slot: bytes | None, progress: Progress, *, read_back: bool = True,
        new: bool = False, before_slot: Callable[[], None] = lambda: None, stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        if target.size < base.size:
            sizes = f"{target.size // MIB} MiB, the image needs {base.size // MIB}"
            raise Refused(f"{target.name} is too small: it has {sizes}; use a larger card")
        self._target, self._base, self._progress = target, base, progress
        self._slot = slot if slot is not None else base.slot_now() if base.slot else b""
        if self._slot and (base.slot is None or len(self._slot) != base.slot.size):
            raise Refused(f"the seed of this card does not fit the slot of {base.name}; make both anew")
        self._read_back, self._before_slot, self._new = read_back, before_slot, new
        self.stop = stop or threading.Event()
        self._id = sha256(base.digest + repr(base.slot).encode()).hexdigest()
        self._first = target.seen()
        self._head, self._rest = base.pieces[0], base.pieces[1:]

    def run(self) -> None:
        """Do all of it; an error says in one sentence what is wrong with this card."""
        room, probe = Room(), Probe(self._target, self._base.size)
        erasing = Erasing(self._target, self._base.pieces, self._base.size, self._progress, self._check_stop)
        erasing.beyond = not self._new
        written = self._resumed(room)
        if written is not None:
            with suppress(BadCard):  # what an earlier run left may be no good; then all is done anew
                self._fill(room, probe, erasing, written)
                written = -1
        if written != -1:
            self._begin(room, probe, erasing)
            self._fill(room, probe, erasing, 0)
        still(self._target, self._first)
        try:
            self._finish(room)
        except Exception:
            self._unmake(room)
            raise

    def _fill(self, room: Room, probe: Probe, erasing: Erasing, start: int) -> None:
        """Write all but block 0, with the slot as the image has it, and read all of it back."""
        probe.plant(probe.beyond)
        self._write(room, start)
        if self._base.slot is not None:
            self._write_slot(room, self._base.slot_now())
        try:
            self._compare_rest()
        except Leftover:
            erasing.overwrite()
            self._compare_rest()
        probe.check(probe.beyond)
        probe.clear()

    def _resumed(self, room: Room) -> int | None:
        """Return how much of this image an interrupted run left on this card; None when it begins anew."""
        with suppress(BadCard):
            found = mark.found(self._target, room)
            if found is not None and (found.image, found.size) == (self._id, self._base.size):
                return found.written
        return None

    def _begin(self, room: Room, probe: Probe, erasing: Erasing) -> None:
        self._progress.enter("probe", 0)
        if self._new:
            unused(self._target, self._base.size, room)
        room.view[:] = bytes(CHUNK)
        write_all(self._target, 0, room.view[:MIB])
        flush(self._target)
        probe.try_size()
        still(self._target, self._first)
        erasing.run(probe)
        mark.put(self._target, room, Mark(self._id, self._base.size, 0))

    def _write(self, room: Room, start: int) -> None:
        todo = [piece for piece in self._rest if piece.digest and piece.offset >= start]
        self._progress.enter("write", sum(piece.length for piece in todo))
        since = 0
        with Feed(self._base.read, todo) as feed:
            for piece, view in feed:
                if since >= CHECKPOINT:
                    mark.put(self._target, room, Mark(self._id, self._base.size, piece.offset))
                    since = 0
                self._check_stop()
                write_all(self._target, piece.offset, view)
                self._progress.add(piece.length)
                since += piece.length
        flush(self._target)

    def _compare_rest(self) -> None:
        """Read all but block 0 and the slot, and compare it with the image."""
        if not self._read_back:
            return
        self._progress.enter("read back", sum(piece.length for piece in self._rest))
        with Feed(partial(read_all, self._target), self._rest) as feed:
            for piece, view in feed:
                self._check_stop()
                compare(self._target.name, piece, view)
                self._progress.add(piece.length)

    def _finish(self, room: Room) -> None:
        """Write block 0, then the slot, and compare both."""
        self._progress.enter("finish", 0)
        head = room.view[:BLOCK]
        self._base.read(0, head)
        if self._head.digest and not compare_digest(sha256(head).digest(), self._head.digest):
            raise Failed(f"{self._base.name} changed while it was written; flash the card again")
        write_all(self._target, 0, head)
        flush(self._target)
        self._compare(room, 0, bytes(head))
        still(self._target, self._first)
        if self._slot:
            self._before_slot()
            self._write_slot(room, self._slot)
        still(self._target, self._first)

    def _write_slot(self, room: Room, slot: bytes) -> None:
        offset = self._base.slot.offset if self._base.slot else 0
        room.view[: len(slot)] = slot
        write_all(self._target, offset, room.view[: len(slot)])
        flush(self._target)
        self._compare(room, offset, slot)

    def _unmake(self, room: Room) -> None:
        """Take block 0 from a card that failed at the very end, unless another card is in its place."""
        with suppress(PrivetError):
            still(self._target, self._first)
            room.view[:BLOCK] = bytes(BLOCK)
            write_all(self._target, 0, room.view[:BLOCK])
            flush(self._target)

    def _compare(self, room: Room, offset: int, wanted: bytes) -> None:
        if not self._read_back:
            return
        read_all(self._target, offset, room.view[: len(wanted)])
        if not compare_digest(bytes(room.view[: len(wanted)]), wanted):
            raise differs(self._target.name, offset)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Failed(f"{self._target.name} is unfinished and starts nothing; run the same again to go on")


def compare(name: str, piece: Piece, view: memoryview) -> None:
    """Raise Leftover or BadCard unless a piece reads as it was written."""
    if not piece.digest:
        if not empty(view):
            raise Leftover(f"{name} still holds something of before at {piece.offset // MIB} MiB; use another card")
    elif not compare_digest(sha256(view).digest(), piece.digest):
        raise differs(name, piece.offset)


def differs(name: str, offset: int) -> BadCard:
    """Say that a card gave back something else."""
    return BadCard(f"{name} gives back something else than was written at {offset // MIB} MiB; use another card")
