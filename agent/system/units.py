"""Files of systemd's units: where they lie, in which order they count, what a unit starts."""

import re

from agent.core.errors import Missing
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.seen import names, text, there

# Highest first; a file or drop-in hides those of the same name further down (systemd.unit(5)).
PLACES = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
ETC = "/etc/systemd/system"
FOLDERS = (".d", ".wants", ".requires", ".upholds")
MOST = 8  # links, one after the other
MARKS = "-@:+!"
WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


def second_names(system: System, places: tuple[str, ...] = PLACES) -> dict[str, str]:
    """Return the names that are links to the file of another unit, and that unit's name."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for place in places:
        for name in names(system, place):
            if name in seen or "." not in name or name.endswith(FOLDERS):
                continue
            seen.add(name)
            target = link(system, f"{place}/{name}")
            folder, _, other = target.rpartition("/")
            inside = not folder or folder.startswith(".") or folder in places
            if inside and other != name and other.rpartition(".")[2] == name.rpartition(".")[2]:
                found[name] = other
    return found


def called(unit: str, seconds: dict[str, str]) -> list[str]:
    """Return every name of a unit, that of its file first."""
    first, steps = unit, 0
    while first in seconds and steps < MOST:
        first, steps = seconds[first], steps + 1
    every, size = [first], 0
    while size != len(every):
        size = len(every)
        every += sorted(name for name, other in seconds.items() if other in every and name not in every)
    return every


def link(system: System, path: str) -> str:
    """Return where a link points, empty for what is none."""
    try:
        return system.target(path) if system.stat(path).kind == "link" else ""
    except Missing:
        return ""


def fragment(system: System, unit: str, places: tuple[str, ...] = PLACES) -> str:
    """Return the path of a unit's own file, empty when it is not installed."""
    return next((f"{place}/{unit}" for place in places if there(system, f"{place}/{unit}")), "")


def drop_ins(
    system: System, unit: str, seconds: dict[str, str] | None = None, places: tuple[str, ...] = PLACES
) -> list[str]:
    """Return the drop-ins of a unit, of its other names, of the families it belongs to, and of its type, in order."""
    chosen: dict[str, str] = {}
    suffix = unit.rpartition(".")[2]
    every = called(unit, second_names(system, places) if seconds is None else seconds)
    folders = [f"{place}/{folder}" for name in every for place in places for folder in of_families(name)]
    for path in (*folders, *(f"{place}/{suffix}.d" for place in places)):
        for name in names(system, path):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, f"{path}/{name}")
    return [chosen[name] for name in sorted(chosen)]


def of_families(unit: str) -> list[str]:
    """Return the folders of drop-ins for one name: its own, its template's, and those of each beginning with a dash."""
    stem, _, suffix = unit.rpartition(".")
    prefix, at, instance = stem.partition("@")
    parts = prefix.split("-")
    found = []
    for head in (prefix, *("-".join(parts[:count]) + "-" for count in range(len(parts) - 1, 0, -1))):
        found += [f"{head}{at}{instance}.{suffix}.d", *([f"{head}@.{suffix}.d"] if instance else [])]
    return list(dict.fromkeys(found))


def values(system: System, unit: str, key: str) -> list[str]:
    """Return the values of a key of [Service] after all drop-ins; an empty one forgets those before it."""
    found: list[str] = []
    for path in (fragment(system, unit), *drop_ins(system, unit)):
        for name, value in assignments(text(system, path) if path else "", "Service"):
            if name == key:
                found = [*found, value] if value else []
    return found


def words(command: str) -> list[str]:
    """Split a command at blanks outside quotes, each word as it is written."""
    return WORD.findall(command)


def bare(word: str) -> str:
    """Return a word without its quotes."""
    return word.replace('"', "").replace("'", "")


def started_with(system: System, unit: str) -> list[str]:
    """Return the last command that a unit starts, as words, with the variables of its files put in."""
    commands = values(system, unit, "ExecStart")
    if not commands:
        return []
    given: dict[str, str] = {}
    for line in values(system, unit, "Environment"):
        given.update(bare(word).partition("=")[::2] for word in words(line))
    for path in values(system, unit, "EnvironmentFile"):
        rows = (row.strip().partition("=") for row in text(system, path.lstrip("-")).splitlines())
        given.update({key: value.strip("\"'") for key, _, value in rows if key[:1] not in {"#", ";"}})
    made: list[str] = []
    for word in words(commands[-1].lstrip(MARKS)):
        name = word.strip("${}")
        made += words(given.get(name, "")) if word.startswith("$") else [word]
    return [bare(word) for word in made]
