"""Who starts a program besides its own unit: other units, people's own, timetables, what a desktop opens, by hand.

A service that is switched off may still run because somebody starts its program in another way. What a package brings
is left out: it goes by its own unit. A script that starts it is not looked into; what runs shows by itself.
"""

import re
from collections.abc import Callable, Iterator

from agent.core.errors import PrivetError, Unreadable
from agent.system import units
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.seen import names, text

PERSONS = range(1000, 60000)
CRONTABS = "/var/spool/cron/crontabs"
PULLS = (".wants", ".requires", ".upholds")
USER = ("/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user")
OWN_UNITS = (".config/systemd/user.control", ".config/systemd/user")
SHARED_UNITS = ".local/share/systemd/user"
FOREIGN = tuple(place for place in units.PLACES if not place.startswith(("/usr/lib/", "/lib/")))
# What runs other programs: its name says nothing about what is run.
SHELLS = {"sh", "bash", "dash", "env", "python", "python3", "perl", "node", "busybox"}
PARTS = re.compile(r"[^\s;&|()<>\"'`=]+")


def others(system: System, own: list[str], blocked: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
    """Return every command that something starts: where, the unit of the system's that does (or empty), the command."""
    for unit in pulled(system, FOREIGN):
        path = next((f"{place}/{unit}" for place in FOREIGN if present(system, f"{place}/{unit}")), "")
        if path and unit not in own and alias(system, path) not in own and not blocked(unit):
            for command in units.values(system, unit, "ExecStart"):
                yield f"the unit {unit}", unit, command
    for person, home in [("everybody", ""), *people(system)]:
        yield from of_person(system, person, home)
    for where, said in timetables(system):
        for line in said.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                yield where, "", line


def of_person(system: System, person: str, home: str) -> Iterator[tuple[str, str, str]]:
    """Return what the units and the desktop of a person start; without a home: of everybody."""
    mine = tuple(f"{home}/{folder}" for folder in OWN_UNITS) if home else ()
    places = (*mine, *USER[:2], *((f"{home}/{SHARED_UNITS}",) if home else ()), *USER[2:])
    for unit in pulled(system, mine if home else USER):
        for command in started(system, places, unit):
            yield f"the unit {unit} of {person}", "", command
    desktop = f"{home}/.config/autostart" if home else "/etc/xdg/autostart"
    for name in names(system, desktop):
        for line in text(system, f"{desktop}/{name}").splitlines():
            if line.startswith("Exec"):
                yield f"the desktop of {person}, by {name}", "", line.partition("=")[2]


def timetables(system: System) -> Iterator[tuple[str, str]]:
    """Return the tables of cron, and the script of before that runs at each start."""
    yield "/etc/crontab", text(system, "/etc/crontab")
    for name in names(system, "/etc/cron.d"):
        yield f"/etc/cron.d/{name}", text(system, f"/etc/cron.d/{name}")
    for name in names(system, CRONTABS):
        yield f"the timetable (crontab) of {name}", text(system, f"{CRONTABS}/{name}")
    yield "/etc/rc.local", text(system, "/etc/rc.local")


def people(system: System) -> list[tuple[str, str]]:
    """Return each person's name and home."""
    rows = [line.split(":") for line in text(system, "/etc/passwd").splitlines()]
    return [(row[0], row[5]) for row in rows if len(row) > 6 and row[2].isdigit()
            and (int(row[2]) in PERSONS or row[2] == "0") and row[5] not in {"", "/"}]  # fmt: skip


def pulled(system: System, places: tuple[str, ...]) -> list[str]:
    """Return the services that links in some places make start, themselves or by a socket, a timer or a path."""
    found = [one for place in places for folder in names(system, place) if folder.endswith(PULLS)
             for one in names(system, f"{place}/{folder}")]  # fmt: skip
    kinds = (".service", ".socket", ".timer", ".path")
    return list(dict.fromkeys(one.rpartition(".")[0] + ".service" for one in found if one.endswith(kinds)))


def started(system: System, places: tuple[str, ...], unit: str) -> list[str]:
    """Return what a unit of a person's starts; nothing when it is masked."""
    found = [f"{place}/{unit}" for place in places if present(system, f"{place}/{unit}")][:1]
    if found and not text(system, found[0]).strip():
        return []
    if not found:  # linked from elsewhere
        found = [f"{place}/{folder}/{unit}" for place in places for folder in names(system, place)
                 if folder.endswith(PULLS) and unit in names(system, f"{place}/{folder}")][:1]  # fmt: skip
    found += [f"{place}/{unit}.d/{name}" for place in places for name in names(system, f"{place}/{unit}.d")]
    lines = [assignments(text(system, path), "Service") for path in found]
    return [value for rows in lines for key, value in rows if key == "ExecStart" and value]


def present(system: System, path: str) -> bool:
    """Say whether a path is there."""
    try:
        system.stat(path)
    except PrivetError:
        return False
    return True


def alias(system: System, path: str) -> str:
    """Return the unit that a file is another name for, empty for one of its own."""
    try:
        return system.target(path).rpartition("/")[2]
    except Unreadable:
        return ""


def starts(command: str, programs: list[str]) -> bool:
    """Say whether a command starts one of these programs, by its path or its name."""
    bare = {path.rpartition("/")[2] for path in programs} - SHELLS
    parts = [part.lstrip(units.MARKS) for part in PARTS.findall(command)]
    return any(part in bare or ("/" in part and part.rpartition("/")[2] in bare) for part in parts)


def running(system: System, programs: list[str]) -> str:
    """Return the number of a process that is one of these programs, empty when none runs; containers do not count."""
    bare = {path.rpartition("/")[2] for path in programs} - SHELLS
    short = {name[:15] for name in bare}
    for pid in names(system, "/proc") if bare else ():
        if not pid.isdigit():
            continue
        try:
            if system.read(f"/proc/{pid}/comm", 64).decode("utf-8", "replace").strip() not in short:
                continue
            first = system.read(f"/proc/{pid}/cmdline").split(b"\0")[0].decode("utf-8", "replace").split(" ")[0]
            inner = [row for row in text(system, f"/proc/{pid}/status").splitlines() if row.startswith("NSpid:")]
            if first.rstrip(":").rpartition("/")[2] in bare and not (inner and len(inner[0].split()) > 2):
                return pid
        except PrivetError:  # ended meanwhile
            continue
    return ""
