"""An image as it is downloaded: unpacked once, nothing left of it, and every damaged one told in a sentence."""

import lzma
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from agent.core.errors import BadInput, Missing, PrivetError, Unreadable
from provisioning.card.base import Base, Slot
from provisioning.card.decode import opened
from tests.card import rig
from tests.house import ROOT

MIB = 1 << 20
Pack = Callable[[bytes], bytes]


def zstd(content: bytes) -> bytes:
    """Pack as two frames, as parallel packers do."""
    packer, middle = zstandard.ZstdCompressor(write_checksum=True), len(content) // 2
    return packer.compress(content[:middle]) + packer.compress(content[middle:])


def xz(content: bytes) -> bytes:
    """Pack as two streams."""
    middle = len(content) // 2
    return lzma.compress(content[:middle], preset=0) + lzma.compress(content[middle:], preset=0)


@pytest.mark.parametrize(("suffix", "pack"), [(".img", bytes), (".img.xz", xz), (".img.zst", zstd)])
def test_an_image_is_the_same_however_it_is_packed(suffix: str, pack: Pack, tmp_path: Path, small_image: Path):
    """Each form gives the same pieces, the same digest, and a file that takes no more room than what it holds."""
    (tmp_path / f"x{suffix}").write_bytes(pack(small_image.read_bytes()))
    content, slot = small_image.read_bytes(), rig.SMALL_SLOT
    file = opened(tmp_path / f"x{suffix}")
    assert suffix == ".img" or os.fstat(file).st_blocks * 512 < 2 * MIB
    with Base(file, "x", slot) as base, rig.base(small_image, slot) as plain:
        assert base.pieces == plain.pieces
        end = slot.offset + slot.size
        assert base.digest == sha256(content[: slot.offset] + content[end:]).digest()
        assert base.slot_now() == content[slot.offset : end]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"x{suffix}"]


def test_pieces_cover_the_image_but_the_slot(base: Base, image: Path):
    """No byte is left out, none comes twice, zeros have no digest, and block 0 stands by itself."""
    content, covered = image.read_bytes(), bytearray(rig.IMAGE)
    for piece in base.pieces:
        part = content[piece.offset : piece.offset + piece.length]
        assert piece.digest == (sha256(part).digest() if any(part) else b"")
        covered[piece.offset : piece.offset + piece.length] = b"\1" * piece.length
    slot = covered[rig.SLOT.offset : rig.SLOT.offset + rig.SLOT.size]
    assert slot == bytes(rig.SLOT.size)
    assert covered.count(0) == rig.SLOT.size
    assert sum(piece.length for piece in base.pieces) == rig.IMAGE - rig.SLOT.size
    assert base.pieces[0][:2] == (0, 4096)


def damaged(content: bytes) -> bytes:
    """Turn one byte in the middle over."""
    at = len(content) // 2
    return content[:at] + bytes((content[at] ^ 0xFF,)) + content[at + 1 :]


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "xz cut off": (lambda content: xz(content)[:-40], "ends too early"),
    "xz damaged": (lambda content: damaged(lzma.compress(content, preset=0)), "is damaged"),
    "zst cut off": (lambda content: zstd(content)[:-40], "ends too early"),
    "zst damaged": (lambda content: damaged(zstd(content)), "is damaged"),
    "zst and rubbish": (lambda content: zstd(content) + b"rubbish", "is damaged"),
    "gzip": (lambda content: b"\x1f\x8b\x08" + content, "packed with gzip"),
    "zip": (lambda content: b"PK\x03\x04" + content, "packed with zip"),
    "cut off within a sector": (lambda content: content[:-77], "no image of a card"),
    "tiny": (lambda content: content[:1000], "no image of a card"),
    "empty": (lambda content: b"", "no image of a card"),
}


@pytest.mark.parametrize(("make", "told"), BAD.values(), ids=BAD)
def test_a_bad_image_is_told_and_leaves_nothing(
    make: Callable[[bytes], bytes], told: str, tmp_path: Path, small_image: Path
):
    """One sentence, no half unpacked file."""
    path = tmp_path / "x.img"
    path.write_bytes(make(small_image.read_bytes()))
    with pytest.raises(BadInput, match=told) as error:
        Base(opened(path), path.name)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_there_or_not_readable_is_told(tmp_path: Path):
    """A path that is wrong is an error of its own kind."""
    with pytest.raises(Missing):
        opened(tmp_path / "none.img")
    with pytest.raises(PrivetError):
        opened(tmp_path)
    (tmp_path / "x.img.xz").write_bytes(xz(bytes(MIB)))
    with pytest.raises(Unreadable):
        opened(tmp_path / "x.img.xz", tmp_path / "no-such-folder")


@pytest.mark.parametrize("slot", [Slot(100, 8192), Slot(rig.IMAGE - 4096, 8192), Slot(0, 8192), Slot(MIB, 100)])
def test_a_slot_that_is_not_in_the_image_is_refused(slot: Slot, image: Path):
    """A slot lies on blocks, within the image, and not on block 0."""
    with pytest.raises(BadInput):
        rig.base(image, slot)


BOMB = """
import os, resource, sys
from pathlib import Path
from provisioning.card.decode import opened
from tests.house import ROOT
resource.setrlimit(resource.RLIMIT_AS, (768 << 20, 768 << 20))
print(os.fstat(opened(Path(sys.argv[1]))).st_size)
"""


def test_a_bomb_is_unpacked_piece_by_piece(tmp_path: Path):
    """Some kilobytes that are two gigabytes of zeros take neither memory nor room."""
    blocks = [(0x02 | 131072 << 3).to_bytes(3, "little") + b"\0"] * (2 << 13)
    end = (0x03 | 131072 << 3).to_bytes(3, "little") + b"\0"
    path = tmp_path / "x.img.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\x88" + b"".join(blocks[1:]) + end)
    done = subprocess.run([sys.executable, "-c", BOMB, path], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.strip() == str(2 << 30), done.stderr[-500:]


def test_a_packer_that_wants_all_our_memory_is_refused(tmp_path: Path):
    """A header that asks for a gigabyte to be kept in mind is no image of a maker."""
    fine = lzma.compress(bytes(100_000), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    size = (fine[12] + 1) * 4
    head = fine[12 : 12 + size - 4].replace(b"\x21\x01\x10", b"\x21\x01\x24")
    assert head != fine[12 : 12 + size - 4]
    path = tmp_path / "x.img.xz"
    path.write_bytes(fine[:12] + head + zlib.crc32(head).to_bytes(4, "little") + fine[12 + size :])
    with pytest.raises(BadInput, match="is damaged"):
        opened(path)


def test_streams_one_after_the_other_are_one_image(tmp_path: Path):
    """As `xz` itself packs with several threads and `cat` puts together, with zeros between."""
    path = tmp_path / "x.img.xz"
    path.write_bytes(lzma.compress(b"a" * 3_000_000) + bytes(8) + lzma.compress(b"b" * 10) + bytes(4))
    assert os.read(opened(path), 4_000_000) == b"a" * 3_000_000 + b"b" * 10
