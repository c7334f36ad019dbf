"""A block device: a card in a reader, or a loop device. Opened for us alone and past the page cache."""

import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

from agent.core.errors import CardGone, Refused
from provisioning.card.targets.found import serial, word
from provisioning.card.targets.target import GONE, Seen, trouble

# From Linux' fs.h and blkdev.h, for machines whose ioctl numbers are the common ones (not MIPS, PowerPC or SPARC).
BLKDISCARD, BLKGETSIZE64, BLKGETDISKSEQ, BLKRRPART = 0x1277, 0x80081272, 0x80081280, 0x125F


class BlockTarget:
    """A whole disk. The kernel lets nobody mount it while we hold it, and udev leaves it alone."""

    def __init__(self, node: Path) -> None:
        self.name, self._written = node.name, False
        try:
            self._file = os.open(node, os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise trouble(node.name, error, "opened", 0) from None
        try:
            self._lock(node)
            self.size = self._number(BLKGETSIZE64)
        except OSError as error:
            os.close(self._file)
            raise trouble(node.name, error, "opened", 0) from None
        except Refused:
            os.close(self._file)
            raise
        if self.size == 0:
            os.close(self._file)
            raise CardGone(f"{node.name} has no card in it; put one in")

    def _lock(self, node: Path) -> None:
        facts = os.fstat(self._file)
        if not stat.S_ISBLK(facts.st_mode):
            raise Refused(f"{node} is no disk; name one of those that privet-fleet targets lists")
        self._folder = Path(f"/sys/dev/block/{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}")
        if (self._folder / "partition").exists():
            raise Refused(f"{node} is a partition; name the whole disk")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # udev probes no disk that is locked so
        except BlockingIOError:
            raise Refused(f"{node} is in use by another program; wait until it ends") from None

    def _number(self, request: int) -> int:
        room = bytearray(8)
        fcntl.ioctl(self._file, request, room)
        return int(struct.unpack("=Q", room)[0])

    def read(self, offset: int, view: memoryview) -> int:
        """Read from the medium."""
        return os.preadv(self._file, [view], offset)

    def write(self, offset: int, view: memoryview) -> int:
        """Write some of the view to the medium."""
        self._written = True
        return os.pwrite(self._file, view, offset)

    def discard(self, offset: int, length: int) -> bool:
        """Tell the medium that a range is not needed; False when card or reader know no such word."""
        try:
            fcntl.ioctl(self._file, BLKDISCARD, struct.pack("=QQ", offset, length))
        except OSError as error:
            if error.errno in GONE:
                raise
            return False  # readers refuse it with EOPNOTSUPP, EREMOTEIO or EIO; what is really broken shows in writing
        return True

    def flush(self) -> None:
        """Empty the write cache of the medium."""
        os.fsync(self._file)

    def seen(self) -> Seen:
        """Ask the kernel which medium this is."""
        cid = word(self._folder / "device/cid")
        return Seen(self._number(BLKGETDISKSEQ), cid or serial(self._folder), bool(cid), self._number(BLKGETSIZE64))

    def close(self) -> None:
        """Let go of it; the kernel forgets the partitions of before, and udev may look at it from now on."""
        if self._written:
            with suppress(OSError):  # a card that was taken out, a device without partitions
                fcntl.ioctl(self._file, BLKRRPART)
        os.close(self._file)
