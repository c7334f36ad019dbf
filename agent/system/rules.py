"""udev's rules as udev reads them: files by name over all folders, remarks, continued lines, blanks around signs."""

import re
from collections.abc import Callable

from agent.system.door import System
from agent.system.ini import BLANKS, ENDS
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
    """Return the rules of a text; what is no word of one is its last, without a key: udev may drop the whole line."""
    found, begun = [], ""
    for raw in ENDS.split(said):
        line = raw.strip(BLANKS)
        if line.startswith("#"):
            continue
        if line.endswith("\\"):
            begun += line[:-1]
            continue
        words: Rule = [(key, inner, sign, value) for key, inner, sign, value in WORD.findall(begun + line)]
        rest = WORD.sub("", begun + line).strip(BLANKS + ",")
        found.append([*words, ("", "", "", rest)] if words and rest else words)
        begun = ""
    return [rule for rule in found if rule]


def followed(said: list[Rule], jumps: Callable[[Rule], bool]) -> list[Rule]:
    """Return the rules of one file that are come to: what a rule jumps over, of which that is sure, is not.

    Without a label further down it does not jump, and what else it says counts.
    """
    found, place = list[Rule](), 0
    while place < len(said):
        rule = said[place]
        found.append(rule)
        place += 1
        targets = [(sign, value) for key, _, sign, value in rule if key == "GOTO"]
        if len(targets) == 1 and targets[0][0] == "=" and jumps(rule):
            target = targets[0][1]
            labels = (at for at in range(place, len(said)) if ("LABEL", "", "=", target) in said[at])
            place = next(labels, place)
    return found
