"""The disk behind the boot partition: found, searched for what must be gone, its free clusters filled with zeros."""

from collections.abc import Sequence

from agent.core.errors import Failed, Missing, PrivetError, Unreadable
from agent.system.door import System

TABLE = "/proc/self/mountinfo"
FAT = ("vfat", "msdos", "fat")
WASH = "privet-zeros.tmp"
PARTS = (1 << 20, 1 << 15, 512)  # bytes added at once: large ones while they fit, then what is left
LIMIT = 1 << 16  # additions; a boot partition that takes more is none


def behind(system: System, place: str) -> str:
    """Return the device that is mounted at a place when it is a FAT partition of its own; "" when it is none."""
    try:
        table = system.read(TABLE)
    except Missing:
        return ""
    found = ""
    for line in table.decode("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        where, words = before.split(), after.split()
        if len(where) > 4 and len(words) > 1 and where[4] == place:  # the last one lies on top
            found = words[1] if words[0] in FAT else ""
    return found


def held(system: System, device: str, values: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return which values are on the medium; a device that cannot be read is never taken for clean."""
    if not values:
        return ()
    try:
        return system.search(device, values)
    except PrivetError as error:
        raise Failed(f"whether {device} is clean is not known ({error}); let the first boot read that disk") from error


def wash(system: System, place: str) -> None:
    """Fill the free clusters with zeros, then give them back."""
    path = f"{place}/{WASH}"
    unwashed(system, place)
    parts = list(PARTS)
    for _ in range(LIMIT):
        try:
            system.append(path, bytes(parts[0]))
        except Unreadable:  # it is full, for a piece of this size
            parts.pop(0)
            if not parts:
                break
    unwashed(system, place)


def unwashed(system: System, place: str) -> None:
    """Remove the zeros, also those of a run that was cut short."""
    system.remove(f"{place}/{WASH}")


def file_with(system: System, place: str, values: Sequence[bytes]) -> str:
    """Name a file of the partition that holds one of the values, or say that none does."""
    for name in system.entries(place):
        path = f"{place}/{name}"
        if system.stat(path).kind == "file" and system.search(path, values):
            return path
    return f"{place}, but in none of its files"
