"""A file that becomes an image: `flash --to`. Made anew, or the unfinished one of an earlier run."""

import os
import stat
from pathlib import Path

from agent.core.errors import Refused, Unreadable
from provisioning.card.targets.target import Seen

# From Linux' falloc.h: keep the size, punch a hole.
KEEP_SIZE, PUNCH_HOLE = 1, 2


class FileTarget:
    """A regular file of the size of a card. Reads come from the disk: what is cached is dropped first."""

    def __init__(self, path: Path, size: int, *, create: bool = True) -> None:
        self.name = str(path)
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._file = os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
        except FileExistsError:
            raise Refused(f"{path} exists; remove it first, or name another file") from None
        except OSError as error:
            raise Unreadable(f"{path} cannot be opened ({error.strerror}); name another file") from None
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            os.close(self._file)
            raise Refused(f"{path} is no file; name a disk as a target, not with --to")
        if create:
            self._sized(path, size)
        self.size = os.fstat(self._file).st_size

    def _sized(self, path: Path, size: int) -> None:
        """Make the new file as large as the card; where that cannot be, nothing of it is left."""
        try:
            os.ftruncate(self._file, size)
        except (OSError, OverflowError) as error:
            os.close(self._file)
            path.unlink(missing_ok=True)
            why = getattr(error, "strerror", None) or "no file can be"
            raise Unreadable(f"{path} cannot be made that large ({why}); give a smaller --size") from None

    def read(self, offset: int, view: memoryview) -> int:
        """Read from the disk."""
        return os.preadv(self._file, [view], offset)

    def write(self, offset: int, view: memoryview) -> int:
        """Write some of the view."""
        if offset + len(view) > self.size:
            raise OSError(28, os.strerror(28))
        return os.pwrite(self._file, view, offset)

    def discard(self, offset: int, length: int) -> bool:
        """Make a hole; False on a file system that has none."""
        return punched(self._file, offset, length)

    def flush(self) -> None:
        """Sync, and forget what is cached."""
        os.fsync(self._file)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def seen(self) -> Seen:
        """Say which file is there: the one that is open."""
        facts = os.fstat(self._file)
        return Seen(facts.st_ino, "", False, facts.st_size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def punched(file: int, offset: int, length: int) -> bool:
    """Punch a hole into a file, which Python has no call for; False when it cannot be done."""
    import ctypes  # noqa: PLC0415 - only what makes holes needs it

    call = ctypes.CDLL(None, use_errno=True).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return bool(call(file, KEEP_SIZE | PUNCH_HOLE, offset, length) == 0)
