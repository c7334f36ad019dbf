"""The image that another one is built from: plain, .xz or .zst, copied to a file of its own with holes for zeros."""

import lzma
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from agent.core.errors import BadInput, Missing, Unreadable
from provisioning.card.base import MOST
from provisioning.card.decode import XZ, ZSTD, refuse_pipe, sparsely, unpacked_xz, unpacked_zstd
from provisioning.card.disk import OTHERS

PIECE = 4 << 20
Tell = Callable[[int, int], None]


def copy(base: Path, work: Path, tell: Tell = lambda done, of: None) -> None:
    """Copy or unpack an image into a new file; `tell` hears how many bytes of the base were read, and of how many."""
    refuse_pipe(base)
    import zstandard  # noqa: PLC0415 - its error is one of those below

    try:
        # No buffer: the place in the file is set by lseek, behind the back of any.
        with base.open("rb", buffering=0) as stream, work.open("xb") as file:
            size, end = os.fstat(stream.fileno()).st_size, 0
            for at, piece in _pieces(base, stream):
                end = at + len(piece)
                if end > MOST:
                    raise BadInput(f"{base} unpacks to more than any card holds; fetch it from its maker")
                sparsely(file.fileno(), at, piece)
                tell(min(stream.tell(), size), size)
            file.truncate(end)
    except FileNotFoundError:
        raise Missing(f"{base} is not there; name an image") from None
    except EOFError:
        raise BadInput(f"{base} ends too early; fetch it again") from None
    except (lzma.LZMAError, zstandard.ZstdError):
        raise BadInput(f"{base} is damaged; fetch it again") from None
    except OSError as error:
        raise Unreadable(f"{base} cannot be unpacked ({error.strerror}); look at the disk and its free space") from None


def _pieces(base: Path, stream: FileIO) -> Iterator[tuple[int, bytes]]:
    """Yield what the image holds, each piece with its place; what lies between pieces is zeros."""
    first = os.pread(stream.fileno(), 8, 0)
    for magic, name in OTHERS.items():
        if first.startswith(magic) and not first.startswith(ZSTD):
            raise BadInput(f"{base} is packed with {name}; unpack it, or fetch it as .img, .img.xz or .img.zst")
    if not first.startswith((XZ, ZSTD)):
        yield from _plain(stream)
        return
    at = 0
    for piece in unpacked_zstd(stream) if first.startswith(ZSTD) else unpacked_xz(stream):
        yield at, piece
        at += len(piece)


def _plain(stream: FileIO) -> Iterator[tuple[int, bytes]]:
    """Yield what a file holds; its holes are not read."""
    file, at = stream.fileno(), 0
    size = os.fstat(file).st_size
    while at < size:
        try:
            at = os.lseek(file, at, os.SEEK_DATA)
        except OSError:  # nothing but a hole follows
            break
        piece = os.pread(file, PIECE, at)
        stream.seek(at + len(piece))
        yield at, piece
        at += len(piece)
    stream.seek(size)
    yield size, b""
