"""What the verbs about cards share: their options, the image they write, and which disks they mean."""

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from agent.core.errors import BadInput, Missing, Refused, Tampered, WrongDisk
from agent.core.slot import SIZE, blank
from provisioning.card.base import Base, Slot
from provisioning.card.decode import opened as decoded
from provisioning.card.disk import SECTOR, partitions
from provisioning.card.manifest import SUFFIX, Manifest, open_manifest
from provisioning.card.seeds import FAILED, GIVEN, VERIFIED, Seeds
from provisioning.card.targets.content import FREE, content
from provisioning.card.targets.file import FileTarget
from provisioning.card.targets.found import Disk, look
from provisioning.card.targets.opening import named_disk, opened, reading
from provisioning.card.targets.rules import LARGEST, Wanted, waiver
from provisioning.card.targets.shown import shown
from provisioning.card.targets.target import Target
from provisioning.cli.opened import open_fleet
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from provisioning.fleet.states import FAIL, FLASH, VERIFY

PACKED = (".xz", ".zst")
EVENTS = {GIVEN: FLASH, VERIFIED: VERIFY, FAILED: FAIL}
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def with_rules(command: click.decorators.FC) -> click.decorators.FC:
    """Give a verb the options that say which disks may be written."""
    for option in (
        click.option("--largest", type=Size(), help="No disk larger than this is a card.  [default: 260 GB]"),
        click.option("--waive", "waivers", multiple=True, metavar="DISK=BYTES",
                     help="Write this disk although of its size, or what is on it, speaks against it."),
    ):  # fmt: skip
        command = option(command)
    return command


class Size(click.ParamType[int]):
    """A size such as 4G or 500M, or in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        if isinstance(value, int):
            return value
        number, unit = (value[:-1], value[-1:].upper()) if value[-1:].isalpha() else (value, "")
        if not (number.isascii() and number.isdecimal() and unit in UNITS) or len(number) > 15:
            self.fail(f"{value!r} is no size; write it like 4G", param, ctx)
        return int(number) * UNITS[unit]


def wanted(largest: int | None, waivers: tuple[str, ...], ports: tuple[str, ...] = (), smallest: int = 1) -> Wanted:
    """Return what may be written."""
    return Wanted(smallest, largest or LARGEST, ports, frozenset(waiver(one) for one in waivers))


def vouched(image: Path, directory: Path, descriptor: int | None) -> tuple[Manifest | None, Fleet | None]:
    """Return the manifest of an image, verified, and the fleet that signed it; None when none is beside it."""
    for name in names(image):
        if name.with_name(name.name + SUFFIX).exists():
            fleet = open_fleet(directory, descriptor)
            return open_manifest(name, (fleet.policy_key(),)), fleet
    return None, None


def seeds_of(batch: str, directory: Path, fleet: Fleet | None, image: str, held: ExitStack) -> Seeds:
    """Open a batch: a folder, or its number in the fleet. The fleet's registry hears where each seed went."""
    folder = directory / "batches" / batch if batch.isdecimal() and not Path(batch).exists() else Path(batch)
    if fleet is None:
        return held.enter_context(Seeds(folder))
    registry = Registry(fleet)
    held.callback(registry.close)
    held.callback(registry.remember)

    def tell(device: str, state: str, card: str) -> None:
        with suppress(Missing):  # a seed that was made by hand: no registry knows it
            registry.happened(device, EVENTS[state], **{"image": image, **({"card": card} if card else {})})

    return held.enter_context(Seeds(folder, tell))


def names(image: Path) -> list[Path]:
    """Return the names that an image may have had before it was packed."""
    return [image, *([image.with_suffix("")] if image.suffix in PACKED else [])]


def opened_base(image: Path, manifest: Manifest | None, room: Path | None) -> Base:
    """Open, unpack and look through an image; Tampered when it is not what its manifest says."""
    file = decoded(image, room)
    base = Base(file, image.name, None if manifest is None else Slot(manifest.slot, SIZE))
    if manifest is None:
        try:
            begins_a_card(os.pread(file, SECTOR, 0), base.size)
        except BadInput:
            base.close()
            raise
        return base
    if (base.size, base.digest) != (manifest.size, manifest.outside) or base.slot_now() != blank():
        base.close()
        raise Tampered(f"{image} is not the image that its manifest speaks of; build it again, or fetch it again")
    return base


def begins_a_card(first: bytes, whole: int) -> None:
    """Refuse what no device starts from: no table of partitions, or an end before theirs. A GPT is not looked into."""
    with suppress(Refused):
        partitions(first, whole)


def chosen(names_given: tuple[str, ...]) -> list[Disk]:
    """Return the disks that were named, each once; Missing when one is not there."""
    found = {disk.name: disk for disk in (named_disk(name) for name in names_given)}
    return list(found.values())


def candidates(want: Wanted, named: tuple[str, ...]) -> list[Disk]:
    """Return the disks that were named; Missing when none was, with those that could be."""
    if named:
        return chosen(named)
    free = [disk.name for disk in look() if disk.size and disk.kind in {"usb", "sd"} and disk.size <= want.largest]
    hint = f"name one of: {', '.join(free)}" if free else "put a card into a reader, and name it"
    raise Missing(f"no disk was named; {hint} (privet-fleet targets tells which may be written)")


def card(name: str, want: Wanted, held: ExitStack) -> Target:
    """Open the one card, or file, that a verb works on."""
    path = Path(name)
    target: Target
    if path.is_file():
        target = FileTarget(path, 0, create=False)
        held.callback(target.close)
        somebodys(target, path, want)
        return target
    if path.is_dir():
        raise WrongDisk(f"{path} is a folder; name a disk or a file")
    target = opened(named_disk(name), want, named=True)
    held.callback(target.close)
    return target


def somebodys(target: Target, path: Path, want: Wanted) -> None:
    """Refuse a file that is no card: what is in it may be anything that a person wrote."""
    found = content(reading(target), target.size)
    if found.kind not in FREE and (path.name, target.size) not in want.waivers:
        hint = f"if you are sure, add --waive {shown(path.name, 64)}={target.size}"
        raise WrongDisk(f"{shown(str(path), 240)} is not changed: it holds {found.told}; {hint}")


def refuse_plain(manifest: Manifest | None, image: Path, what: str) -> None:
    """Refuse an image that nobody vouches for."""
    if manifest is None:
        raise Refused(
            f"{image} has no manifest beside it, and {what} needs one; build it with privet-fleet image build"
        )
