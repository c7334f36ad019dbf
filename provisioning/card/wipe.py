"""A card that is to be given away: all of it forgotten, overwritten, and read back."""

import threading

from agent.core.errors import BadCard, Failed
from provisioning.card.base import Piece
from provisioning.card.erase import Erasing
from provisioning.card.feed import Feed
from provisioning.card.probe import Probe
from provisioning.card.progress import Progress
from provisioning.card.targets.target import CHUNK, MIB, Room, Target, empty, flush, read_all, still, write_all


def wiped(target: Target, progress: Progress, stop: threading.Event) -> None:
    """Wipe a card; it is as large as it says, and every byte of it reads as zero at the end.

    What a card keeps in spare cells that nobody can address is beyond any writer; it is told to forget that as well.
    """
    first, room = target.seen(), Room()

    def check_stop() -> None:
        if stop.is_set():
            raise Failed(f"{target.name} is not wiped to its end; wipe it again")

    erasing, probe = Erasing(target, (), 0, progress, check_stop), Probe(target, 0)
    progress.enter("probe", 0)
    write_all(target, 0, room.view[: min(MIB, target.size)])
    flush(target)
    probe.try_size()
    still(target, first)
    erasing.forget()
    erasing.overwrite()
    whole = [Piece(at, min(CHUNK, target.size - at), b"") for at in range(0, target.size, CHUNK)]
    progress.enter("read back", target.size)

    def read(offset: int, view: memoryview) -> None:
        read_all(target, offset, view)

    with Feed(read, whole) as feed:
        for piece, view in feed:
            check_stop()
            if not empty(view):
                raise BadCard(f"{target.name} still holds something at {piece.offset // MIB} MiB; destroy it")
            progress.add(piece.length)
    still(target, first)
    progress.enter("over", 0)
