"""Which disk may be written: every rule must agree, and each that does not says why in plain words.

Nothing overrides a rule but a waiver that names this very disk and its size, and only where a person can know better
than the rule: how large a card may be, and whether what is on it may go.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from agent.core.errors import BadInput
from provisioning.card.targets.content import FREE, Content
from provisioning.card.targets.found import Disk
from provisioning.card.targets.shown import shown

GB = 10**9
LONG = 240  # letters of a path
LARGEST = 260 * GB  # a card of 256 GB; what is larger is rather somebody's backup
SYSTEM = ("/", "/boot", "/boot/firmware", "/boot/efi", "/efi", "/home", "/usr", "/var", "/srv", "/opt")


class Wanted(NamedTuple):
    """What a run allows: sizes in bytes, the ports of a station (all when none), and waivers."""

    smallest: int = 1
    largest: int = LARGEST
    ports: tuple[str, ...] = ()
    waivers: frozenset[tuple[str, int]] = frozenset()


class Reason(NamedTuple):
    """Why not, and whether a waiver that names the disk would do."""

    told: str
    waivable: bool = False


def reasons(disk: Disk, held: Content, wanted: Wanted, *, named: bool) -> tuple[Reason, ...]:
    """Return every reason against a disk; `named` says that a person wrote its name. None: it may be written."""
    waived = (disk.name, disk.size) in wanted.waivers
    found = (*never(disk, wanted, named=named), *judged(disk, held, wanted))
    return tuple(reason for reason in found if not (waived and reason.waivable))


def never(disk: Disk, wanted: Wanted, *, named: bool) -> Iterator[Reason]:
    """Yield what no waiver lifts."""
    if disk.size == 0:
        yield Reason("no card is in it")
    system = [point for point in disk.mounts if point in SYSTEM]
    if system:
        yield Reason(f"this machine runs from it ({shown(system[0])})")
    elif disk.mounts:
        yield Reason(f"it is mounted at {shown(disk.mounts[0], LONG)}; unmount it")
    if disk.swap:
        yield Reason("this machine swaps to it")
    if disk.holders:
        yield Reason(f"another device is made of it ({', '.join(shown(one) for one in disk.holders)})")
    if disk.read_only:
        yield Reason("it is write-protected; look for the small slide on the card")
    yield from attached(disk, named=named)
    if wanted.ports and not listed(disk.port, wanted.ports):
        yield Reason(f"it is not in a reader of this station (it is at {disk.port})")


def attached(disk: Disk, *, named: bool) -> Iterator[Reason]:
    """Yield what speaks against where it is attached."""
    if disk.kind == "loop":
        if not named:
            yield Reason("a loop device is a file; name it to write it")
        elif not disk.backing:
            yield Reason("no file is behind this loop device")
    elif disk.kind == "mmc":
        yield Reason("it is memory that is soldered in, not a card")
    elif disk.kind in {"virtual", "disc"}:
        yield Reason("it is no card")
    elif disk.kind == "built-in" and not disk.removable:
        yield Reason("it is built into this machine")


def judged(disk: Disk, held: Content, wanted: Wanted) -> Iterator[Reason]:
    """Yield what a person may know better."""
    if disk.size and disk.size < wanted.smallest:
        yield Reason(f"it is too small: {size(disk.size)}, and {size(wanted.smallest)} are needed")
    if disk.size > wanted.largest:
        yield Reason(f"it is larger than a card: {size(disk.size)}", waivable=True)
    if disk.kind == "usb" and not disk.removable:
        yield Reason("it is a USB disk, not a card in a reader", waivable=True)
    if held.kind not in FREE and disk.size:
        yield Reason(f"it holds {held.told}", waivable=True)


def listed(port: str, ports: tuple[str, ...]) -> bool:
    """Say whether a port is one of those listed; a reader's port stands for all its slots."""
    return any(port == one or port.startswith(one + ":") for one in ports)


def waiver(text: str) -> tuple[str, int]:
    """Read a waiver such as sdb=31914983424: the name of a disk and its size in bytes, which both must be right."""
    found = re.fullmatch(r"([A-Za-z0-9._-]{2,64})=([0-9]{1,20})", text)
    if found is None:
        raise BadInput(f"{shown(text)} is no waiver; write the disk and its size in bytes, such as sdb=31914983424")
    return found[1], int(found[2])


def size(count: int) -> str:
    """Write a size as it stands on a card."""
    for unit, name in ((10**12, "TB"), (GB, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} bytes"
