"""What the writer asks of a card, whatever it is: a memory card in a reader, a loop device, a file.

A target is open and ours alone from `opened` to `close`. Offsets and lengths are bytes, multiples of 512, and the
memory of every view is aligned to a page (`Room`), for block devices are written past the page cache.
"""

import errno
import mmap
from typing import NamedTuple, Protocol

from agent.core.errors import BadCard, CardGone, Failed, PrivetError, Refused, Unreadable

SECTOR = 512
BLOCK = 4096
CHUNK = 4 << 20  # bytes that are moved at once
GONE = (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESTALE)
DENIED = (errno.EACCES, errno.EPERM)
MIB = 1 << 20


class Seen(NamedTuple):
    """Which medium is in the reader: the kernel's count of media, a number, whether the card's own, the size."""

    sequence: int
    serial: str
    own: bool  # False: the number is that of the reader, and every card in it has the same
    size: int


class Target(Protocol):
    """A card that is open for writing, by us alone."""

    name: str
    size: int

    def read(self, offset: int, view: memoryview) -> int:
        """Read from the medium itself into the view; return how much came."""
        ...

    def write(self, offset: int, view: memoryview) -> int:
        """Write some of the view, as much as is returned."""
        ...

    def discard(self, offset: int, length: int) -> bool:
        """Let the medium forget a range, at once; False when it cannot. What it reads as then must be looked at."""
        ...

    def flush(self) -> None:
        """Return when all that was written lies on the medium."""
        ...

    def seen(self) -> Seen:
        """Say which medium is there now."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Room:
    """Page-aligned memory of a fixed size, as reading and writing past the page cache needs it."""

    def __init__(self, size: int = CHUNK) -> None:
        self.size = size
        self.view = memoryview(mmap.mmap(-1, size))  # unmapped when the last view of it is gone


NOTHING = bytes(CHUNK)
STEP = 64 << 10
ZEROS = bytes(STEP)


def empty(view: memoryview) -> bool:
    """Say whether there are only zeros.

    Views are compared one byte after the other, forty times slower than bytes; pieces of this size stay in the cache.
    """
    for at in range(0, len(view), STEP):
        part = view[at : at + STEP].tobytes()
        if part != ZEROS[: len(part)]:
            return False
    return True


def write_all(target: Target, offset: int, view: memoryview) -> None:
    """Write the whole view, in as many turns as it takes."""
    done = 0
    while done < len(view):
        try:
            count = target.write(offset + done, view[done:])
        except OSError as error:
            raise trouble(target.name, error, "written", offset + done) from None
        if count <= 0:
            raise BadCard(f"{target.name} takes nothing more at {(offset + done) // MIB} MiB; use another card")
        done += count


def read_all(target: Target, offset: int, view: memoryview) -> None:
    """Fill the whole view."""
    done = 0
    while done < len(view):
        try:
            count = target.read(offset + done, view[done:])
        except OSError as error:
            raise trouble(target.name, error, "read", offset + done) from None
        if count <= 0:
            raise BadCard(f"{target.name} ends at {(offset + done) // MIB} MiB, before its size; use another card")
        done += count


def flush(target: Target) -> None:
    """Wait until all lies on the medium."""
    try:
        target.flush()
    except OSError as error:
        raise trouble(target.name, error, "written", 0) from None


def trouble(name: str, error: OSError, act: str, offset: int) -> PrivetError:
    """Say in one sentence what an error of the system means for a card."""
    where = f" at {offset // MIB} MiB" if offset else ""
    if error.errno in GONE:
        return CardGone(f"{name} is gone{where}: it was taken out or lost contact; put it back and flash it again")
    if error.errno == errno.ENOSPC:
        return Failed(f"{name} has no room left{where}; use a larger one, or make room on its disk")
    if error.errno == errno.EBUSY:
        return Refused(f"{name} is in use by another program; unmount it, or wait until the program ends")
    if error.errno in DENIED:
        return Unreadable(f"{name} may not be opened by this user; run the command with sudo")
    return BadCard(f"{name} cannot be {act}{where} ({error.strerror}); use another card or another reader")


def still(target: Target, first: Seen) -> None:
    """Refuse to go on when another medium is in the reader than the one that the work began with."""
    try:
        now = target.seen()
    except OSError as error:
        raise trouble(target.name, error, "seen", 0) from None
    if now != first:
        raise CardGone(f"{target.name} holds another card than before; flash the one that is in there now anew")
