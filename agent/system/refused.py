"""What SQLite and the system refuse the store, as sentences for the owner; and what the store refuses of files."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agent.core.errors import PrivetError, Tampered, Unreadable

FULL = {"SQLITE_FULL": "the disk is full; free some space", "SQLITE_READONLY": "the disk is read-only; check the card"}
DAMAGED = "the state of this device is damaged ({}); see privet journal --verify"


@contextmanager
def told() -> Iterator[None]:
    """Turn what SQLite and the system say into our errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise said(error) from error
    except (OSError, MemoryError) as error:
        raise Unreadable(f"the state of this device cannot be opened ({error}); check the card") from error


def said(error: sqlite3.Error) -> PrivetError:
    """Put SQLite's refusal into a sentence."""
    name = getattr(error, "sqlite_errorname", "")
    for start, sentence in FULL.items():
        if name.startswith(start):
            return Unreadable(f"the state of this device cannot be kept: {sentence}")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unreadable("another process has the state of this device open; stop it, only one guard may run")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_NOMEM")):
        return Unreadable(f"the state of this device cannot be read or kept ({error}); check the card")
    return Tampered(DAMAGED.format(error))


def ordinary(path: str) -> None:
    """Refuse what is there and no file: SQLite would wait at a pipe for ever."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise Tampered(DAMAGED.format(f"{path} is no plain file"))


def sync_directory(path: str) -> None:
    """Bring the names beside a file onto the disk."""
    number = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
