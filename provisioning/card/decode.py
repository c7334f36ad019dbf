"""From an image as it is downloaded (.img, .img.xz, .img.zst) to a sparse file, decoded once for a whole run.

The decoded file has no name: nothing of it is left, whatever ends the run. What a file is, its first bytes say.
"""

import lzma
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from agent.core.errors import BadInput, Missing, Unreadable
from provisioning.card.base import GRAIN, MOST
from provisioning.card.targets.target import empty

XZ, ZSTD = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
OTHERS = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"7z\xbc\xaf": "7-Zip", b"\x28\xb5\x2f": "zstd"}
PIECE = 1 << 20


def opened(path: Path, room: Path | None = None) -> int:
    """Open an image for reading, decoded; `room` is the directory that a decoded one takes its space from."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise Missing(f"{path} is not there; name an image") from None
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror}); name an image") from None
    with stream:
        first = stream.peek(8)[:8]
        if first.startswith(XZ):
            return written(path, unpacked_xz(stream), room or path.parent)
        if first.startswith(ZSTD):
            return written(path, unpacked_zstd(stream), room or path.parent)
        for magic, name in OTHERS.items():
            if first.startswith(magic):
                raise BadInput(f"{path} is packed with {name}; unpack it, or fetch it as .img, .img.xz or .img.zst")
        return os.dup(stream.fileno())


def unpacked_xz(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what an .xz file holds; EOFError when it is cut off, LZMAError when it is damaged."""
    with lzma.LZMAFile(stream) as file:
        while block := file.read(PIECE):
            yield block


def unpacked_zstd(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a .zst file holds, frame by frame; EOFError when it is cut off, ZstdError when it is damaged."""
    import zstandard  # noqa: PLC0415 - only this form needs it

    frame = None
    rest = b""
    while block := rest or stream.read(PIECE):
        frame = frame or zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        yield frame.decompress(block)
        rest = b""
        if frame.eof:
            rest, frame = frame.unused_data, None
    if frame is not None:
        raise EOFError


def written(path: Path, blocks: Iterator[bytes], room: Path) -> int:
    """Write blocks into a sparse file without a name; BadInput or Unreadable, and then nothing is left of it."""
    import zstandard  # noqa: PLC0415 - its error is one of those below

    file = nameless(room)
    try:
        size = 0
        for block in blocks:
            sparsely(file, size, block)
            size += len(block)
            bounded(path, size)
        os.ftruncate(file, size)
        return file
    except BaseException as error:
        os.close(file)
        if isinstance(error, EOFError):
            raise BadInput(f"{path} ends too early; fetch it again") from None
        if isinstance(error, lzma.LZMAError | zstandard.ZstdError):
            raise BadInput(f"{path} is damaged; fetch it again") from None
        if isinstance(error, OSError):
            raise Unreadable(
                f"{path} cannot be unpacked into {room} ({error.strerror}); name another with --room"
            ) from None
        raise


def bounded(path: Path, size: int) -> None:
    """Refuse what unpacks without end."""
    if size > MOST:
        raise BadInput(f"{path} unpacks to more than any card holds; fetch it from its maker")


def sparsely(file: int, offset: int, block: bytes) -> None:
    """Write what is not zeros."""
    view = memoryview(block)
    for at in range(0, len(block), GRAIN):
        part = view[at : at + GRAIN]
        if empty(part):
            continue
        done = 0
        while done < len(part):
            done += os.pwrite(file, part[done:], offset + at + done)


def nameless(room: Path) -> int:
    """Make a file that no directory names."""
    with suppress(OSError):
        return os.open(room, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        file, name = mkstemp(prefix=".privet-", dir=room)
    except OSError as error:
        raise Unreadable(f"{room} takes no file ({error.strerror}); name another directory with --room") from None
    Path(name).unlink()
    return file
