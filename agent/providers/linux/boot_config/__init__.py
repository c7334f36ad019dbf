"""Lines of config.txt: what the firmware of a Raspberry Pi switches on before Linux starts.

Params: `words` (strict and loose, blank separated), `lines` (patterns that are loose), `live` ("pattern of paths:
pattern of content", what shows that it is on), and the optional `but` (patterns that are not loose after all) and `say`
(the line that makes it loose). Absent where there is no boot partition of a Raspberry Pi.

Lines are made comments by their first byte and given back the same way; what has to be said anew is said in a file of a
fixed size. All of it holds from the next start on. Why a power cut cannot spoil it: README.md here.

Prepared: `place`, `kept`, `back` (whether lines given back make it loose), `found` (path, place and text of each loose
line), and `file:` + path (the bytes of a file).
"""

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Missing, PrivetError, Refused
from agent.core.plan import Append, Overwrite
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System

PARAMS = ("words", "lines", "live")
RESTART = True
WAITS = "it holds from the next start of this device on; restart it"
NONE = "this device has no boot partition of a Raspberry Pi"


def probe(system: System, params: Params) -> Reading:
    """Read what the firmware will do at the next start, and what it did at this one."""
    off, on = str(params["words"]).split()
    try:
        place = board.partition(system)
        if not place:
            return absent(NONE)
        kept = on if loose(system, params, place, {}) else off
    except PrivetError as error:
        return unread(str(error))
    try:
        live = on if any(shown(system, sign) for sign in texts(params, "live")) else off
    except PrivetError as error:
        return unread(str(error), kept=kept)
    return Reading(live=live, kept=kept, cause=WAITS if (live, kept) == (on, off) else "", absent=False)


def steps(params: Params, option: Value) -> tuple[Overwrite | Append, ...]:
    """Make comments of what is loose; or lines of our comments, and where there are none say it in our own file."""
    if "place" not in params:
        raise Refused("the boot partition was not looked at first; run privet enforce again")
    contents = {key[5:]: value for key, value in params.items() if key.startswith("file:") and isinstance(value, bytes)}
    if option == str(params["words"]).split()[0]:
        rows = [json.loads(row) for row in texts(params, "found")]
        return board.without_lines([board.Line(path=p, at=at, text=t, sure=True) for p, at, t in rows], contents)
    place = str(params["place"])
    config = contents[f"{place}/{board.CONFIG}"]
    if params["kept"] == option:
        return ()
    if params["back"] == "yes":
        return board.with_lines_back(f"{place}/{board.CONFIG}", config, texts(params, "lines"))
    own = contents.get(f"{place}/{board.OWN}", b"")
    return tuple(step for line in texts(params, "say") for step in board.with_slot(place, config, own, line))


def watches(params: Params) -> tuple[str, ...]:
    """Name where the boot partition is mounted."""
    return board.PLACES


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    place = board.partition(system)
    if not place:
        return params
    path = f"{place}/{board.CONFIG}"
    found = loose(system, params, place, {})
    contents = {
        one: board.there(system, one) or b"" for one in {path, f"{place}/{board.OWN}", *(line.path for line in found)}
    }
    back = board.with_lines_back(path, contents[path], texts(params, "lines"))
    helps = back and loose(system, params, place, {path: back[-1].content})
    return {
        **params,
        "place": place,
        "kept": str(params["words"]).split()[1 if found else 0],
        "back": "yes" if helps else "no",
        "found": tuple(json.dumps([line.path, line.at, line.text]) for line in found),
        **{f"file:{one}": content for one, content in contents.items()},
    }


def loose(system: System, params: Params, place: str, instead: dict[str, bytes]) -> list[board.Line]:
    """Return the loose lines that count."""
    return board.matching(board.lines(system, place, instead), texts(params, "lines"), texts(params, "but"))


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def shown(system: System, sign: str) -> bool:
    """Say whether some file of a pattern of paths holds what it should hold for this to be on."""
    pattern, _, content = sign.partition(": ")
    return any(fnmatchcase(said, content) for said in held(system, pattern))


def held(system: System, pattern: str) -> Iterator[str]:
    """Return what the files of a pattern hold; the pattern has at most one star, in one name."""
    head, star, tail = pattern.partition("*")
    folder, _, start = head.rpartition("/")
    end, slash, rest = tail.partition("/")
    try:
        names = [n for n in system.entries(folder) if fnmatchcase(n, f"{start}*{end}")] if star else [""]
    except Missing:
        return
    for name in names:
        path = f"{folder}/{name}{slash}{rest}" if star else pattern
        said = board.there(system, path)
        if said is not None:
            yield said.decode("utf-8", "replace").strip("\0\n ")
