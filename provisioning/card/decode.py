"""From an image as it is downloaded (.img, .img.xz, .img.zst) to a sparse file, decoded once for a whole run.

The decoded file has no name: nothing of it is left, whatever ends the run. What a file is, its first bytes say.
"""

import lzma
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

from agent.core.errors import BadInput, Missing, Unreadable
from provisioning.card.base import GRAIN, MOST
from provisioning.card.disk import OTHERS
from provisioning.card.targets.target import empty

XZ, ZSTD = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
PIECE = 1 << 20
MORSEL = 1024  # bytes of zstd at a time: they hold 32 MiB at most, and the library gives back all of it at once
MOST_WINDOW = 1 << 27  # bytes that a packer may ask us to keep in mind: twice what the makers of images do


def opened(path: Path, room: Path | None = None) -> int:
    """Open an image for reading, decoded; `room` is the directory that a decoded one takes its space from."""
    refuse_pipe(path)
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


def refuse_pipe(path: Path) -> None:
    """Refuse what has neither an end nor a beginning; opening a pipe would wait for its other end."""
    with suppress(OSError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode) or stat.S_ISDIR(mode)):
            raise BadInput(f"{path} is a pipe or a device, and no image; name a file")


def unpacked_xz(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what an .xz file holds, stream by stream; EOFError when it is cut off, LZMAError when it is damaged."""
    one: lzma.LZMADecompressor | None = None
    rest = b""
    while True:
        waits = one is not None and not one.needs_input
        rest = rest or (b"" if waits else stream.read(PIECE))
        if one is None:
            rest = rest.lstrip(b"\0")  # zeros may stand between streams
            if not rest and not (rest := stream.read(PIECE)):
                return
            one = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=2 * MOST_WINDOW)
            continue
        if not rest and not waits:
            raise EOFError
        yield one.decompress(rest, PIECE)
        rest = one.unused_data if one.eof else b""
        one = None if one.eof else one


def unpacked_zstd(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a .zst file holds, frame by frame; EOFError when it is cut off, ZstdError when it is damaged."""
    import zstandard  # noqa: PLC0415 - only this form needs it

    frame, rest, ready = None, b"", bytearray()
    while block := rest or stream.read(MORSEL):
        frame = frame or zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW).decompressobj()
        ready += frame.decompress(block)
        rest = b""
        if len(ready) >= PIECE:
            yield bytes(ready)
            ready.clear()
        if frame.eof:
            rest, frame = frame.unused_data, None
    yield bytes(ready)
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
