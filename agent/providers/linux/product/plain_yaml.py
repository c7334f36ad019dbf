"""YAML as far as it is plain: block mappings of words. Of whatever is not plain, nothing is said and nothing changed.

There is no YAML library on the device, and a file that a person wrote may use all of YAML. So a look ends in a text, in
"" (surely not there), or in None: it cannot be told.
"""

import re

from agent.core.record import Record

ROW = re.compile(r"""^( *)([A-Za-z0-9_.-]+|"[^"\\]+"|'[^']+') *:(?: +(.*))?$""")
UNPLAIN = re.compile(r"^\s*(?:<<\s*:|---|\.\.\.|%|\?|[{\[&*!])|\t")


class Row(Record):
    """One line `key: value`: its place, how far it is indented, key and value (without a comment)."""

    __slots__ = ("indent", "key", "place", "value")
    place: int
    indent: int
    key: str
    value: str


def rows(text: str) -> list[Row] | None:
    """Return the lines of mappings; lists and blocks of text are passed over; None when it is not plain."""
    found: list[Row] = []
    within = -1  # deeper lines belong to a list or a block of text
    for place, raw in enumerate(text.split("\n")):
        line = raw.rstrip()
        indent = len(line) - len(line.lstrip())
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if within >= 0 and indent > within:
            continue
        within = -1
        if line.lstrip().startswith("- ") or line.lstrip() == "-":
            within = indent
            continue
        row = ROW.match(line)
        if UNPLAIN.match(line) or not row:
            return None
        value = (row[3] or "").strip()
        if value[:1] in ("|", ">"):
            within = indent
        found.append(Row(place=place, indent=indent, key=row[2].strip("\"'"), value=bare(value)))
    return found


def bare(value: str) -> str:
    """Return a value without its quotes, or without the comment after it."""
    if value[:1] in ('"', "'"):
        return value[1:].partition(value[0])[0]
    return "" if value.startswith("#") else value.partition(" #")[0].strip()


def beneath(found: list[Row], above: Row | None) -> list[Row]:
    """Return the rows directly beneath another one, or of the whole file."""
    if above is None:
        return [row for row in found if row.indent == 0]
    rest = found[found.index(above) + 1 :]
    end = next((place for place, row in enumerate(rest) if row.indent <= above.indent), len(rest))
    return [row for row in rest[:end] if row.indent == rest[0].indent]


def walk(text: str, path: tuple[str, ...]) -> tuple[Row | None, tuple[str, ...]] | None:
    """Follow a path: the last row there is, and what is missing after it; None where that is not plain."""
    found = rows(text)
    if found is None:
        return None
    here: Row | None = None
    for place, key in enumerate(path):
        named = [row for row in beneath(found, here) if row.key == key]
        if len(named) > 1 or (here is not None and here.value not in ("", "{}", "null", "~")):
            return None
        if not named:
            return here, path[place:]
        here = named[0]
    return here, ()


def get(text: str, *path: str) -> str | None:
    """Return the value at a path, "" when there is none, None when it cannot be told."""
    found = walk(text, path)
    if found is None:
        return None
    row, missing = found
    if missing or row is None or row.value in ("null", "~"):
        return ""
    return None if row.value[:1] in ("{", "[", "&", "*", "!", "|", ">") else row.value


def put(text: str, value: str, *path: str) -> str | None:
    """Return a text with another value at a path, every other line as it was; None when that cannot be done plainly."""
    found = walk(text, path)
    if found is None:
        return None
    row, missing = found
    lines = text.split("\n")
    if row is not None and not missing:
        key = ROW.match(lines[row.place].rstrip())
        if key is None or row.value[:1] in ("{", "[", "&", "*", "!", "|", ">"):
            return None
        lines[row.place] = f"{key[1]}{key[2]}: {value}"
        return "\n".join(lines)
    if row is None:
        return text.rstrip("\n") + ("\n" if text.strip() else "") + "".join(nested(missing, value, 0, 2))
    known = beneath(rows(text) or [], row)
    step = known[0].indent - row.indent if known else 2
    if row.value in ("{}", "null", "~"):
        lines[row.place] = lines[row.place].partition(":")[0] + ":"
    lines[row.place + 1 : row.place + 1] = [line[:-1] for line in nested(missing, value, row.indent + step, step)]
    return "\n".join(lines)


def nested(path: tuple[str, ...], value: str, indent: int, step: int) -> list[str]:
    """Write a path as lines."""
    made = [" " * (indent + place * step) + f"{key}:" for place, key in enumerate(path)]
    made[-1] += f" {value}"
    return [line + "\n" for line in made]
