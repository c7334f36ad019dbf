"""Units on the simulated disk: their files with all drop-ins, as systemd reads them."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
MASK = "/dev/null"

Lines = tuple[tuple[str, str], ...]


def template(unit: str) -> str:
    """Return the name of the file that instances share."""
    return f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}"


def names(device: "SimulatedSystem", directory: str) -> tuple[str, ...]:
    """Return the names in a directory that may be missing."""
    try:
        return device.entries(directory)
    except Missing:
        return ()


def text(device: "SimulatedSystem", path: str) -> str:
    """Return the text of a file; empty for a mask and for a link to nowhere."""
    try:
        if device.stat(path).kind == "link" and device.target(path) == MASK:
            return ""
        return device.read(path).decode()
    except PrivetError:
        return ""


def lines(device: "SimulatedSystem", unit: str) -> Lines:
    """Return the assignments of a unit's file and drop-ins as `Section.Key`; none when it is masked or not there."""
    kinds = [unit, template(unit)] if "@" in unit else [unit]
    own = [f"{place}/{kind}" for kind in kinds for place in PLACES if kind in names(device, place)][:1]
    if not own or not text(device, own[0]):
        return ()
    parts: dict[str, str] = {}
    for place in reversed(PLACES):
        for folder in [f"{place}/{kind}.d" for kind in reversed(kinds)]:
            parts.update({name: f"{folder}/{name}" for name in names(device, folder) if name.endswith(".conf")})
    found = [("", "")]
    for path in [own[0], *(parts[name] for name in sorted(parts))]:
        section = ""
        for line in text(device, path).splitlines():
            if line.startswith("["):
                section = line.strip("[] ")
            elif "=" in line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                found.append((f"{section}.{key.strip()}", value.strip()))
    return tuple(found)


def conditions_hold(device: "SimulatedSystem", read: Lines) -> bool:
    """Say whether all conditions about paths hold; an empty one forgets those before it."""
    standing: list[str] = []
    for key, value in read:
        if key.startswith("Unit.Condition"):
            standing = [*standing, value] if value else []
    for value in standing:
        plain = value.lstrip("!")
        try:
            device.stat(plain)
            there = True
        except PrivetError:
            there = False
        if there == value.startswith("!"):
            return False
    return True
