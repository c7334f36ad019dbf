"""The image that another one is built from: plain, .xz or .zst, copied to a file of its own with holes for zeros."""

import lzma
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from agent.core.errors import BadInput, Missing, Unreadable

XZ, ZSTD = b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
FOREIGN = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"7z\xbc\xaf": "7-Zip"}
PIECE = 4 << 20
GRAIN = 64 << 10
MOST = 64 << 30  # bytes unpacked: more is no image for a card but a trap
Tell = Callable[[int, int], None]


def copy(base: Path, work: Path, tell: Tell = lambda done, of: None) -> None:
    """Copy or unpack an image into a new file; `tell` hears how many bytes of the base were read, and of how many."""
    try:
        with base.open("rb", buffering=0) as stream:  # its place is set by lseek, behind the back of any buffer
            size = os.fstat(stream.fileno()).st_size
            with work.open("xb") as file:
                end = 0
                for at, piece in _pieces(base, stream):
                    if at + len(piece) > MOST:
                        raise BadInput(f"{base} unpacks to more than any card holds; fetch it from its maker")
                    _sparsely(file, at, piece)
                    end = at + len(piece)
                    tell(min(stream.tell(), size), size)
                file.truncate(end)
    except FileNotFoundError:
        raise Missing(f"{base} is not there; name an image") from None
    except (EOFError, lzma.LZMAError):
        raise BadInput(f"{base} is damaged or ends too early; fetch it again") from None
    except OSError as error:
        raise Unreadable(f"{base} cannot be unpacked ({error.strerror}); look at the disk and its free space") from None


def _pieces(base: Path, stream: FileIO) -> Iterator[tuple[int, bytes]]:
    """Yield what the image holds, each piece with its place; what lies between pieces is zeros."""
    first = stream.read(8)
    stream.seek(0)
    for magic, name in FOREIGN.items():
        if first.startswith(magic):
            raise BadInput(f"{base} is packed with {name}; unpack it, or fetch it as .img, .img.xz or .img.zst")
    if not first.startswith((XZ, ZSTD)):
        yield from _plain(stream)
        return
    at = 0
    for piece in _unpacked_zstd(stream) if first.startswith(ZSTD) else _unpacked_xz(stream):
        yield at, piece
        at += len(piece)


def _unpacked_xz(stream: FileIO) -> Iterator[bytes]:
    with lzma.LZMAFile(stream) as file:
        while piece := file.read(PIECE):
            yield piece


def _plain(stream: FileIO) -> Iterator[tuple[int, bytes]]:
    """Yield what a file holds; its holes are not read."""
    file, at = stream.fileno(), 0
    size = os.fstat(file).st_size
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole follows
            break
        stream.seek(at)
        piece = stream.read(PIECE)
        yield at, piece
        at += len(piece)
    stream.seek(size)
    yield size, b""


def _unpacked_zstd(stream: FileIO) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - only this form needs it

    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    frame, rest, whole = unpacker.decompressobj(), b"", True
    try:
        while piece := rest or stream.read(PIECE):
            yield frame.decompress(piece)
            whole, rest = frame.eof, b""
            if frame.eof:
                rest, frame = frame.unused_data, unpacker.decompressobj()
    except zstandard.ZstdError:
        raise EOFError from None
    if not whole:
        raise EOFError


def _sparsely(file: BinaryIO, at: int, piece: bytes) -> None:
    """Write what is not zeros."""
    for start in range(0, len(piece), GRAIN):
        end = min(start + GRAIN, len(piece))
        if piece.count(0, start, end) != end - start:
            file.seek(at + start)
            file.write(memoryview(piece)[start:end])
