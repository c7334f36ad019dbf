"""Files of systemd's units: where they lie, in which order they count, what a unit starts."""

import re

from agent.system.door import System
from agent.system.seen import names, text, there

# Highest first; a file or drop-in hides those of the same name further down (systemd.unit(5)).
PLACES = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
ETC = "/etc/systemd/system"
MARKS = "-@:+!"
WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")


def fragment(system: System, unit: str) -> str:
    """Return the path of a unit's own file, empty when it is not installed."""
    return next((f"{place}/{unit}" for place in PLACES if there(system, f"{place}/{unit}")), "")


def drop_ins(system: System, unit: str) -> list[str]:
    """Return the drop-ins of a unit, of the families that its name belongs to, and of its type, in their order."""
    stem, _, suffix = unit.rpartition(".")
    parts = stem.split("-")
    families = ["-".join(parts[:count]) + f"-.{suffix}.d" for count in range(1, len(parts))]
    chosen: dict[str, str] = {}
    for folder in (f"{unit}.d", *families, f"{suffix}.d"):
        for place in PLACES:
            for name in names(system, f"{place}/{folder}"):
                if name.endswith(".conf"):
                    chosen.setdefault(name, f"{place}/{folder}/{name}")
    return [chosen[name] for name in sorted(chosen)]


def assignments(said: str, section: str) -> list[tuple[str, str]]:
    """Read `Key=value` lines of one section, continued lines joined."""
    found, here = [], ""
    for raw in said.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            here = line.strip("[]")
        elif here == section and "=" in line and line[0] not in "#;":
            key, _, value = line.partition("=")
            found.append((key.strip(), value.strip()))
    return found


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
