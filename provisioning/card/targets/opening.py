"""From a disk that was looked at to a card that is ours: judged, opened for us alone, and judged again."""

import os
from contextlib import suppress
from pathlib import Path

from agent.core.errors import CardGone, Missing, PrivetError, WrongDisk
from provisioning.card.targets.block import BlockTarget
from provisioning.card.targets.content import Content, Read, content
from provisioning.card.targets.found import Disk, look
from provisioning.card.targets.rules import Reason, Wanted, never, reasons
from provisioning.card.targets.shown import shown
from provisioning.card.targets.target import CHUNK, Room, Target, read_all


def opened(disk: Disk, wanted: Wanted, *, named: bool) -> BlockTarget:
    """Open a disk for writing; WrongDisk with every reason, Refused when in use, CardGone when exchanged."""
    refuse(disk, tuple(never(disk, wanted, named=named)))
    target = BlockTarget(disk.node)
    try:
        now = target.seen()
        if (now.sequence, now.size) != (disk.sequence, disk.size):
            raise CardGone(f"{disk.name} holds another card than a moment ago; look at it again")
        refuse(disk, reasons(disk, content(reading(target), target.size), wanted, named=named))
    except PrivetError:
        target.close()
        raise
    return target


def refuse(disk: Disk, against: tuple[Reason, ...]) -> None:
    """Raise what speaks against a disk."""
    if not against:
        return
    told = "; ".join(reason.told for reason in against)
    hint = f"; if you are sure, add --waive {disk.name}={disk.size}" if all(one.waivable for one in against) else ""
    raise WrongDisk(f"{shown(disk.name)} is not written: {told}{hint}")


def reading(target: Target) -> Read:
    """Return a reader of single places of a card that is open."""
    room = Room(CHUNK)

    def read(offset: int, length: int) -> bytes:
        """Read one place."""
        read_all(target, offset, room.view[:length])
        return bytes(room.view[:length])

    return read


def held(disk: Disk) -> Content:
    """Say what is on a disk without opening it for writing."""
    if not disk.size or disk.kind in {"virtual", "disc"}:
        return Content("unknown", "nothing that was looked at")
    try:
        file = os.open(disk.node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Content("unknown", f"what this user cannot read ({error.strerror})")
    try:
        return content(lambda offset, length: os.pread(file, length, offset), disk.size)
    finally:
        with suppress(OSError):
            os.close(file)


def named_disk(name: str) -> Disk:
    """Return the disk of a name, a node in /dev, or a link to one; Missing when there is none."""
    path = Path(name) if "/" in name else Path("/dev") / name
    with suppress(OSError):
        path = path.resolve(strict=True)
    for disk in look():
        if disk.node == path:
            return disk
    raise Missing(f"there is no disk {shown(name)}; privet-fleet targets lists those that are there")
