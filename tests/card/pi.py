"""A small image as `image build` makes large ones: real file systems, a blank slot, a manifest; and real seeds."""

import os
import subprocess
import tempfile
from pathlib import Path

from agent.core.secret import Secret
from agent.core.seed import Seed, seed_payload
from agent.core.slot import SEED, SIZE, blank, whole
from provisioning.card.base import Base, Slot
from provisioning.card.manifest import SUFFIX, Extent, Manifest, sign_manifest
from provisioning.card.told import place
from provisioning.fleet.identity import Fleet
from provisioning.profile.sign import sign

MIB = 1 << 20
TABLE = "label: dos\nunit: sectors\nstart=8192, size=32768, type=c\nstart=40960, size={size}, type=83\n"


def run(*words: str | Path, text: str = "") -> str:
    """Run one of the tools that make real images; return what it says."""
    around = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
    return subprocess.run(words, input=text, text=True, check=True, capture_output=True, env=around).stdout


def drawn(path: Path, size: int = 32 * MIB, content: int = MIB) -> int:
    """Draw an image with the partitions of a Raspberry Pi and `content` bytes in its root; return where the slot is."""
    with tempfile.TemporaryDirectory() as name, path.open("wb") as file:
        file.truncate(size)
        folder = Path(name)
        (folder / "root").mkdir()
        (folder / "root/content").write_bytes(os.urandom(content))
        (folder / "privet.slot").write_bytes(blank())
        (folder / "config.txt").write_text("arm_64bit=1\n")
        run("sfdisk", "-q", path, text=TABLE.format(size=(size - 20 * MIB) // 512))
        run("mkfs.vfat", "-F", "16", "-s", "8", "-n", "BOOTFS", "--offset=8192", path, str(16 * 1024))
        run("mcopy", "-i", f"{path}@@{4 * MIB}", folder / "privet.slot", folder / "config.txt", "::/")
        offset, kib = f"offset={20 * MIB},lazy_itable_init=1,nodiscard", f"{(size - 20 * MIB) // 1024}k"
        run("mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-d", folder / "root", "-E", offset, path, kib)
    with path.open("rb") as file:
        return place(lambda at, length: os.pread(file.fileno(), length, at), size)


def signed(path: Path, at: int, fleet: Fleet) -> None:
    """Lay the manifest of an image beside it."""
    with Base(os.open(path, os.O_RDONLY), path.name, Slot(at, SIZE)) as base:
        manifest = Manifest(
            size=base.size, slot=at, extents=tuple(Extent(*piece) for piece in base.pieces if piece.digest),
            outside=base.digest, layout="test", fleet=fleet.name, model="base", sequence=1, policy=bytes(32),
            anchor=bytes(32), package="1", sbom=bytes(32), made=1_700_000_000,
        )  # fmt: skip
    path.with_name(path.name + SUFFIX).write_bytes(sign_manifest(manifest, fleet.signing_key()))


def token(device: str) -> bytes:
    """Return the token of a device: 32 bytes that a search finds."""
    return f"token of {device}".encode().ljust(32, b"#")


def batch(folder: Path, fleet: Fleet, count: int, *, parents: bool = False) -> Path:
    """Make a batch of signed seeds."""
    folder.mkdir(parents=parents)
    for number in range(count):
        device = f"d-{number:04}"
        (folder / f"{device}.slot").write_bytes(slot(fleet, device, token(device)))
    return folder


def slot(fleet: Fleet, device: str, secret: bytes) -> bytes:
    """Make the slot of one card."""
    seed = Seed(
        device=device, token=Secret(secret), enrol_host="enrol.example", enrol_port=8443, broker_host="broker.example",
        broker_port=8883, anchor=bytes(32), floor=1_700_000_000, policy=bytes(32), sequence=1, serial="",
    )  # fmt: skip
    return whole(SEED, sign(seed_payload(seed), fleet.signing_key()))
