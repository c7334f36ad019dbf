"""Lines of systemd's own configuration files, cut as systemd cuts them (its config_parse)."""

import re

BLANKS = " \t\n\r"
ENDS = re.compile(r"\r\n|\n\r|[\n\r\0]")  # and no other ends a line
MARK = "\ufeff"  # a byte order mark
BROKEN = "\ufffd"  # what stands for bytes that are no UTF-8


def logical(said: str) -> list[str]:
    """Return the lines without remarks, those that end in a backslash joined with the next that is no remark."""
    found, before, mark = [], "", MARK
    for raw in ENDS.split(said):
        if raw.lstrip(BLANKS)[:1] in {"#", ";"} and raw.lstrip(BLANKS):
            continue  # a backslash at the end of a remark joins nothing, and a remark within a joined line is left out
        line = before + raw.removeprefix(mark)
        mark = "" if raw.startswith(mark) else mark  # the first one counts for nothing, in whatever line it stands
        if (len(line) - len(line.rstrip("\\"))) % 2:
            before = line[:-1] + " "
            continue
        found.append(line.strip(BLANKS))
        before = ""
    return [*found, before.strip(BLANKS)]


def assignments(said: str, section: str) -> list[tuple[str, str]]:
    """Return keys and values of one section; where one line is broken, systemd gives up the rest of the file."""
    return parsed(said, section)[0]


def parsed(said: str, section: str) -> tuple[list[tuple[str, str]], bool]:
    """Return keys and values of one section, and whether the file was read to its end; what is no UTF-8 ends it too."""
    found: list[tuple[str, str]] = []
    here = ""
    for line in logical(said):
        if BROKEN in line or (line.startswith("[") and not line.endswith("]")):
            return found, False
        if line.startswith("["):
            here = line[1:-1]
        elif here == section and "=" in line:
            key, _, value = line.partition("=")
            found.append((key.strip(BLANKS), value.strip(BLANKS)))
    return found, True
