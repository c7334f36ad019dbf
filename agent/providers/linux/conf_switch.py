"""Switches in configuration files: which of some programs do what the setting is about.

Param: `rows`, one text each: word, path without which it is absent, file, section (`-`: none, `_`: a blank, `__`: one
`_`), key, values that switch it on (with commas; `!no,off`: any but these and an empty one), the value we write to
switch it off (`~`: the section goes, for a program that takes no half of it), the one to switch it on, and what counts
when nothing sets it. A file may end in `/*.conf`: the last one by name counts, over all folders that stand there with
commas, highest first. `systemd:NAME` is a main file of systemd's own programs with its drop-ins, read as they do: a
value that switches neither on nor off changes nothing. Of several files with `<` between them each counts less than the
next; the last is ours to write. Of several sections with `|` between them (patterns) we write the first.
Several rows may have one word: it is on as soon as one is. Optional `unit`: restarted after a change, where it runs.
The programs read their file each time they work, so what is kept is what is live.

Prepared: `texts`, the files as they are, and `paths`. Files that packages ship are changed in place, all else in them
as it was.
"""

from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, seen, unread
from agent.core.errors import Failed, PrivetError
from agent.core.order import words
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system import conf, systemd_conf
from agent.system.door import System
from agent.system.seen import content as seen_content
from agent.system.seen import names, there
from agent.system.seen import text as seen_text

PARAMS = ("rows",)
OWN = "zz-privet.conf"
SYSTEMD = "systemd:"
GONE = "~"

Row = tuple[str, str, str, str, str, tuple[str, ...], str, str, str]
"""Word, needs, file, section, key, values that are on, off, on, usual."""


def probe(system: System, params: Params) -> Reading:
    """Name the switches that are on."""
    try:
        here = [row for row in rows(params) if there(system, row[1])]
        if not here:
            every = sorted({row[0] for row in rows(params)})
            return absent(f"none of these is installed: {', '.join(every)}")
        value = words([row[0] for row in here if is_on(row, texts(system, row))])
    except PrivetError as error:
        return unread(str(error))
    return seen(value, value)


def prepare(system: System, params: Params) -> Params:
    """Add the files of the programs that are here, as they are."""
    here = [row for row in rows(params) if there(system, row[1])]
    paths = tuple(dict.fromkeys(own(row) for row in here))
    found = {path: content(system, path) for path in paths}
    systemd = "yes" if there(system, "/run/systemd/system") else "no"
    others = tuple(text for row in here if "|" in row[3] for text in texts(system, row))
    kept = tuple(found[path] for path in paths)
    return {**params, "paths": paths, "texts": kept, "others": others, "systemd": systemd}


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Switch off what the value does not name, and on what it does; where that already holds, nothing changes."""
    if "paths" not in params or "texts" not in params:
        raise Failed("the files were not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    paths, found = listed(params, "paths"), listed(params, "texts")
    made: list[Write | Run] = []
    for path, text in zip(paths, found, strict=True):
        new = text
        for row in rows(params):
            on = row[0] in wanted
            if own(row) == path and (on != is_on(row, [new]) or layered(row)):
                others = [] if on else elsewhere(row, text, *listed(params, "others"))
                new = switched(row, new, others, on=on)
        if new != text:
            content = new.encode("utf-8", "surrogateescape")
            made.append(Write(path=path, content=content, mode=0o644, uid=0, gid=0))
    if made and "unit" in params and params.get("systemd") == "yes":
        made.append(Run(argv=("systemctl", "try-restart", str(params["unit"])), stdin=b""))
    return tuple(made)


def switched(row: Row, text: str, others: list[str], *, on: bool) -> str:
    """Return a text with the switch set in our section, and in those that set it otherwise."""
    said = row[7] if on else row[6]
    for section in [row[3].partition("|")[0], *others]:
        text = without(text, section) if said == GONE else conf.changed(text, section, {row[4]: said})
    return text


def watches(params: Params) -> tuple[str, ...]:
    """Name the directories of the files."""
    return tuple(dict.fromkeys(one.rpartition("/")[0] for row in rows(params) for one in places(row)))


def rows(params: Params) -> list[Row]:
    """Read the rows of the setting."""
    made = []
    for text in listed(params, "rows"):
        word, needs, file, section, key, on, off, written, usual = text.split()
        where = "" if section == "-" else section.replace("__", "\0").replace("_", " ").replace("\0", "_")
        made.append((word, needs, file, where, key, tuple(on.split(",")), plain(off), plain(written), plain(usual)))
    return made


def plain(value: str) -> str:
    """Return a value of a row; `-` stands for an empty one."""
    return "" if value == "-" else value


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words."""
    value = params[name]
    return value if isinstance(value, tuple) else (str(value),)


def layered(row: Row) -> bool:
    """Say whether files of others count less than the one that we write."""
    return row[2].endswith("/*.conf") or "<" in row[2] or row[2].startswith(SYSTEMD)


def places(row: Row) -> list[str]:
    """Return every file and folder of a row."""
    if row[2].startswith(SYSTEMD):
        name = row[2].removeprefix(SYSTEMD)
        return [path for one in systemd_conf.FOLDERS for path in (f"{one}/{name}.d/{OWN}", f"{one}/{name}")]
    return row[2].replace("<", ",").split(",")


def own(row: Row) -> str:
    """Return the file that we write: the program's own, or ours in its highest folder."""
    if row[2].startswith(SYSTEMD):
        return places(row)[0]
    return row[2].rpartition("<")[2].partition(",")[0].replace("*.conf", OWN)


def texts(system: System, row: Row) -> list[str]:
    """Return the texts of a row's files, in the order in which the program reads them."""
    if row[2].startswith(SYSTEMD):
        return [seen_text(system, path) for path in systemd_conf.files(system, row[2].removeprefix(SYSTEMD))]
    found: list[str] = []
    for step in row[2].split("<"):
        chosen: dict[str, str] = {}
        for place in step.split(","):
            folder, _, name = place.rpartition("/")
            here = names(system, folder) if name == "*.conf" else (name,)
            for one in here:
                if one.endswith(".conf") or name != "*.conf":
                    chosen.setdefault(one, f"{folder}/{one}")
        found += [content(system, chosen[one]) for one in sorted(chosen)]
    return found


def fits(row: Row, section: str) -> bool:
    """Say whether a section is one of a row's."""
    return any(section == one or (one and fnmatchcase(section, one)) for one in row[3].split("|"))


def elsewhere(row: Row, *found: str) -> list[str]:
    """Return the sections that set a switch under another name than ours."""
    first = row[3].partition("|")[0]
    said = [where for text in found for where, key, _ in conf.pairs(text) if key == row[4] and fits(row, where)]
    return [where for where in dict.fromkeys(said) if where != first]


def is_on(row: Row, found: list[str]) -> bool:
    """Say whether a switch is on in some section: of each the last file that sets it counts."""
    if row[2].startswith(SYSTEMD):
        known = [value for key, value in systemd_conf.said(found, row[3]) if key == row[4]]
        return switches(row, [row[8], *(value for value in known if value in (*row[5], row[6]))][-1])
    said: dict[str, str] = {}
    for one in found:
        said.update(
            {where: value.strip("\"'") for where, key, value in conf.pairs(one) if key == row[4] and fits(row, where)}
        )
    return any(switches(row, value.lower()) for value in said.values() or [row[8]])


def switches(row: Row, value: str) -> bool:
    """Say whether a value switches it on."""
    first = row[5][0]
    if first.startswith("!"):
        return value not in {"", first[1:], *row[5][1:]}
    return value in row[5]


def without(text: str, section: str) -> str:
    """Return a text without a section, all else as it was."""
    made, here = [], ""
    for raw in text.splitlines():
        line = raw.strip()
        here = line[1:-1].strip() if line.startswith("[") and line.endswith("]") else here
        made += [] if here == section else [raw]
    return "\n".join(made) + "\n"


def content(system: System, path: str) -> str:
    """Return a file's text, empty when it is not there."""
    return (seen_content(system, path) or b"").decode("utf-8", "surrogateescape")
