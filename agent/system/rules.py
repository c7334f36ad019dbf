"""udev's rules as udev reads them: files by name over all folders, remarks, continued lines, blanks around signs."""

import re

from agent.system.door import System
from agent.system.seen import names

# Highest first; a file hides those of the same name further down (udev(7)).
FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d")
WORD = re.compile(r'([A-Z_]+)(?:\{([^}]*)\})?\s*(==|!=|-=|\+=|:=|=)\s*e?"((?:[^"\\]|\\.)*)"')

Word = tuple[str, str, str, str]
"""Key, what stands in its braces, sign, value."""
Rule = list[Word]


def files(system: System) -> list[tuple[str, str]]:
    """Return the files that count, name and path, in the order in which they are read."""
    chosen: dict[str, str] = {}
    for folder in FOLDERS:
        for name in names(system, folder):
            if name.endswith(".rules"):
                chosen.setdefault(name, f"{folder}/{name}")
    return sorted(chosen.items())


def rules(said: str) -> list[Rule]:
    """Return the rules of a text."""
    found, begun = [], ""
    for raw in said.splitlines():
        line = raw.strip()
        if line.startswith("#"):
            continue
        if line.endswith("\\"):
            begun += line[:-1]
            continue
        found.append([(key, inner, sign, value) for key, inner, sign, value in WORD.findall(begun + line)])
        begun = ""
    return [rule for rule in found if rule]
