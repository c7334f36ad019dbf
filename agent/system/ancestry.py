"""What udev's rules ask of a device and of what it hangs on: attributes, kinds, names, drivers in /sys (udev(7))."""

from fnmatch import fnmatchcase
from posixpath import normpath

from agent.core.errors import PrivetError
from agent.system.door import System
from agent.system.seen import content

TOP = "/sys/devices"
PARENTS = {"ATTRS", "SUBSYSTEMS", "KERNELS", "DRIVERS"}  # of the device or of one above it; the others are its own
LINKS = {"SUBSYSTEM": "subsystem", "DRIVER": "driver"}
DEEPEST = 32


def line(system: System, subsystem: str, name: str) -> tuple[str, ...]:
    """Return the directory of a device in /sys, and those of what it hangs on, upwards."""
    place = f"/sys/class/{subsystem}/{name}"
    try:
        place = normpath(f"/sys/class/{subsystem}/{system.target(place)}")
    except PrivetError:  # no link
        return (place,)
    found = [place]
    while len(found) < DEEPEST and (place := place.rpartition("/")[0]).startswith(f"{TOP}/"):
        found.append(place)
    return tuple(found)


def met(system: System, places: tuple[str, ...], key: str, inner: str, value: str) -> bool:
    """Say whether a condition is met by a device, or by one above it where that is asked; of others we do not know."""
    parts = value.split("|")
    asked = places if key in PARENTS else places[:1]
    return any(
        fnmatchcase(shown, part) for place in asked for shown in said(system, place, key, inner) for part in parts
    )


def said(system: System, place: str, key: str, inner: str) -> tuple[str, ...]:
    """Return what one directory says to a key, nothing where it says nothing."""
    key = key.removesuffix("S") if key in PARENTS else key
    try:
        if key == "KERNEL":
            return (place.rpartition("/")[2],)
        if key in LINKS:
            return (system.target(f"{place}/{LINKS[key]}").rpartition("/")[2],)
        if key == "ATTR" and inner and ".." not in inner:
            held = content(system, f"{place}/{inner}")
            return () if held is None else (held.decode("utf-8", "replace").rstrip(),)
    except PrivetError:
        pass
    return ()
