"""Which layout an image has: it fits a row of layouts.toml in every fact, or it is refused and the difference named."""

import functools
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from agent.core.errors import Refused
from provisioning.card.bootfs import WORDS, Bootfs
from provisioning.card.disk import Disk
from provisioning.card.rootfs import Rootfs

FACTS = Path(__file__).with_name("layouts.toml")
RELEASE, ISSUE, FSTAB = "/usr/lib/os-release", "/etc/rpi-issue", "/etc/fstab"


class Layout(NamedTuple):
    """One row of layouts.toml; the words are told there."""

    name: str
    title: str
    codename: str
    raspberry: bool
    starts: tuple[int, ...]
    boot_type: int
    boot_label: str
    fat_bits: int
    clusters: tuple[int, ...]
    root_type: int
    root_label: str
    mount: str
    words: tuple[str, ...]
    absent: tuple[str, ...]
    first: str


class Honoured(NamedTuple):
    """Names on the boot partition that programs of the maker read, whether they may hold a secret, what they do."""

    names: tuple[str, ...]
    secret: bool
    text: str


@functools.cache
def known() -> tuple[tuple[Layout, ...], tuple[Honoured, ...]]:
    """Read layouts.toml; a word that is missing or new in it is a TypeError at once."""
    table = tomllib.loads(FACTS.read_text(encoding="utf-8"))
    return tuple(Layout(**_frozen(row)) for row in table["layout"]), tuple(
        Honoured(**_frozen(row)) for row in table["honoured"]
    )


def layout_of(disk: Disk, root: Rootfs, boot: Bootfs) -> Layout:
    """Return the layout of an image; Refused names what no known layout has."""
    found = root.reads((RELEASE, ISSUE, FSTAB))
    release = {word.partition("=")[0]: word.partition("=")[2].strip('"') for word in _lines(found, RELEASE)}
    codename, raspberry = release.get("VERSION_CODENAME", "?"), ISSUE in found
    mine = [one for one in known()[0] if (one.codename, one.raspberry) == (codename, raspberry)]
    if not mine:
        maker = "Raspberry Pi OS" if raspberry else release.get("PRETTY_NAME", "a system without a name")
        raise Refused(f"no layout is known for {maker} {codename!r}; take one of: {', '.join(titles())}")
    mounts = [line.split()[1] for line in _lines(found, FSTAB) if len(line.split()) > 2 and line.split()[2] == "vfat"]
    words = boot.read(WORDS).decode("utf-8", "replace")
    wrong = [differences(one, disk, mounts, words) for one in mine]
    for one, found_wrong in zip(mine, wrong, strict=True):
        if not found_wrong:
            return one
    nearest = min(wrong, key=len)[0]
    raise Refused(f"this is not laid out as {mine[0].title}: {nearest}; take the image of the maker, or update Privet")


def titles() -> list[str]:
    """Name the systems whose layout is known."""
    return [one.title for one in known()[0]]


def differences(one: Layout, disk: Disk, mounts: list[str], words: str) -> list[str]:
    """Say in what an image differs from a layout."""
    rows: tuple[tuple[str, Any, tuple[Any, ...]], ...] = (
        ("partition 1 begins at byte", disk.boot.start, one.starts),
        ("partition 1 has the type", disk.boot.kind, (one.boot_type,)),
        ("partition 2 has the type", disk.root.kind, (one.root_type,)),
        ("the boot partition is called", disk.fat.label, (one.boot_label,)),
        ("the root file system is called", disk.ext.label, (one.root_label,)),
        ("the boot partition is of FAT", disk.fat.bits, (one.fat_bits,)),
        ("a cluster of the boot partition has bytes:", disk.fat.cluster, one.clusters),
        ("the boot partition is mounted at", ", ".join(mounts), (one.mount,)),
    )
    wrong = [
        f"{text} {value} and not {' or '.join(str(v) for v in right)}"
        for text, value, right in rows
        if value not in right
    ]
    wrong += [f"{word!r} does not stand in {WORDS}" for word in one.words if word not in words]
    wrong += [
        f"{word!r} stands in {WORDS}" for word in one.absent if word in words.split() or f" {word}" in f" {words}"
    ]
    if f"PARTUUID={disk.signature}-02" not in words:
        wrong.append(f"{WORDS} does not name partition 2 of this very disk as root")
    return wrong


def _lines(found: dict[str, bytes], path: str) -> list[str]:
    text = found.get(path, b"").decode("utf-8", "replace")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
