"""What makes a unit of systemd start, by the files alone: links, lines of other units, sockets, timers and paths."""

from fnmatch import fnmatchcase

from agent.core.errors import Unreadable
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.seen import content, names, text
from agent.system.units import PLACES, called, drop_ins, fragment, link

FOLDERS = (".wants", ".requires", ".upholds")
NEWER = ".upholds"  # not known to the systemd of Debian 12
# Lines of [Unit] that start what they name.
WANTING = {"Wants", "Requires", "BindsTo", "Upholds", "OnSuccess", "OnFailure"}
TRIGGERS = {".socket": ("Socket", "Service"), ".timer": ("Timer", "Unit"), ".path": ("Path", "Unit")}
# What every start of a device comes through.
ALWAYS = {"default", "graphical", "multi-user", "basic", "sysinit", "timers", "sockets", "paths"}


def starts(
    system: System, unit: str, seconds: dict[str, str], places: tuple[str, ...] = PLACES, asked: tuple[str, ...] = ()
) -> bool:
    """Say whether something names a unit such that it starts, itself or by what waits for a call or a time.

    A service that names it counts if it starts itself; `asked` are those that this is being asked for.
    """
    wanted = {*called(unit, seconds)}
    for name in [*wanted]:
        stem, _, suffix = name.rpartition(".")
        wanted |= {stem + kind for kind in TRIGGERS} if suffix == "service" else set()
    by_bus = any(name.startswith("dbus-") for name in called(unit, seconds))
    if by_bus or wanted & linked(system, places):
        return True
    wanted |= triggers(system, {*called(unit, seconds)}, seconds, places)
    if wanted & linked(system, places):
        return True
    before = (*asked, *wanted)
    return any(
        not one.endswith((".service", *TRIGGERS)) or "@" in one or starts(system, one, seconds, places, before)
        for one in named(system, wanted, places)
        if one not in before
    )


def at_each_start(system: System, unit: str, places: tuple[str, ...] = PLACES) -> bool:
    """Say whether a target that is always reached has a link to a unit, or our own line."""
    return unit in linked(system, places, ALWAYS)


def linked(system: System, places: tuple[str, ...], always: set[str] | None = None) -> set[str]:
    """Return what links in `.wants`, `.requires` and `.upholds` name.

    One that ends at /dev/null or at an empty file, also by way of others, hides those further down and names nothing.
    """
    found: dict[tuple[str, str], str] = {}
    for place in places:
        for folder in names(system, place):
            surely = always is None or (folder.split(".")[0] in always and not folder.endswith(NEWER))
            if folder.endswith(FOLDERS) and surely:
                for name in names(system, f"{place}/{folder}"):
                    found.setdefault((folder, name), f"{place}/{folder}/{name}")
    return {name for (_, name), path in found.items() if link(system, path) and not empty(system, path)}


def triggers(system: System, wanted: set[str], seconds: dict[str, str], places: tuple[str, ...]) -> set[str]:
    """Return the sockets, timers and paths that say they start one of these units."""
    found = set()
    for name in {name for place in places for name in names(system, place) if name.endswith(tuple(TRIGGERS))}:
        section, key = TRIGGERS["." + name.rpartition(".")[2]]
        paths = [path for path in (fragment(system, name, places), *drop_ins(system, name, seconds, places)) if path]
        said = [value for path in paths for one, value in assignments(text(system, path), section) if one == key]
        if said and any(fits(said[-1], one) for one in wanted):
            found.add(name)
    return found


def named(system: System, wanted: set[str], places: tuple[str, ...]) -> set[str]:
    """Return the units, or families of them, a line of which or of whose drop-ins starts one of these."""
    found = set()
    for place in places:
        for name in names(system, place):
            if name.endswith(FOLDERS) or name in wanted or "." not in name:
                continue
            inner = [f"/{one}" for one in names(system, f"{place}/{name}")] if name.endswith(".d") else [""]
            for one in inner:
                said = readable(system, f"{place}/{name}{one}")
                if "%" in said or any(unit in said for unit in wanted):  # most need no closer look
                    rows = [value.split() for key, value in assignments(said, "Unit") if key in WANTING]
                    if any(fits(word, unit) for words in rows for word in words for unit in wanted):
                        family = name.count(".") == 1 or "-." in name  # service.d, x-.service.d
                        found.add(name if family and inner != [""] else name.removesuffix(".d"))
    return found


def empty(system: System, path: str) -> bool:
    """Say whether nothing stands where a path leads; what is not there at all is no such thing."""
    try:
        return content(system, path) == b""
    except Unreadable:
        return False


def readable(system: System, path: str) -> str:
    """Return a file's text, none of what holds none: a link by way of another to /dev/null, a folder."""
    try:
        return text(system, path)
    except Unreadable:
        return ""


def fits(said: str, unit: str) -> bool:
    """Say whether a word means a unit; what a template fills in may be anything."""
    while "%" in said:
        head, _, tail = said.partition("%")
        said = f"{head}*{tail[1:]}"
    return fnmatchcase(unit, said) if "*" in said else said == unit
