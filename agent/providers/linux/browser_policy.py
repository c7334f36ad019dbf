"""What web browsers tell others, held by the policies that their makers honour above the choices of whoever uses them.

Param: `rows`, "word browser policy value" each: a word is out of reach only where every installed browser has each of
its policies at that value. Chromium joins all files of its directory, whatever their names, the last one by name
winning, and reads them again when they change. Firefox reads one file, once, at its start: that of /etc, else the one
beside its program; one that runs since before its last change is unknown.

Ours for Chromium is a file of its own that comes last; in Firefox's one file only our policies are changed.

Prepared: `here` (the browsers that are installed) and `firefox` (its policies as they count today, as JSON).
"""

import json
from typing import Any

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.order import words
from agent.core.plan import Remove, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.seen import names, text, there

PARAMS = ("rows",)
PROGRAMS = {
    "chromium": ("/usr/lib/chromium/chromium", "/usr/lib/chromium-browser/chromium-browser"),
    "firefox": ("/usr/lib/firefox-esr/firefox-esr", "/usr/lib/firefox/firefox"),
}
MANAGED = "/etc/chromium/policies/managed"
OWN = f"{MANAGED}/zz-privet.json"
SYSTEM = "/etc/firefox/policies/policies.json"
BESIDE = tuple(path.rpartition("/")[0] + "/distribution/policies.json" for path in PROGRAMS["firefox"])
TICKS = 100  # of /proc/<pid>/stat in a second, on every Linux
VALUES = {"true": True, "false": False}


def probe(system: System, params: Params) -> Reading:
    """Name what a browser may tell."""
    try:
        here = installed(system)
        if not here:
            return absent("no web browser that Privet knows is installed")
        found = {"chromium": joined(system), "firefox": single(system)[1]}
        open_ = [
            word
            for word, browser, policy, value in rows(params)
            if browser in here and found[browser].get(policy) is not VALUES[value]
        ]
        kept = words(sorted(set(open_)))
    except PrivetError as error:
        return unread(str(error))
    try:
        if "firefox" in here and outdated(system):
            raise Failed("a Firefox that runs has not read its policies since they changed; close it and open it again")
    except PrivetError as error:
        return unread(str(error), kept=kept)
    return Reading(live=kept, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add which browsers are installed, and what Firefox goes by today."""
    policies = single(system)[1]
    return {**params, "here": tuple(installed(system)), "firefox": json.dumps(policies, sort_keys=True)}


def steps(params: Params, option: Value) -> tuple[Write | Remove, ...]:
    """Write the policies of all words but those of the value."""
    if "here" not in params:
        raise BadInput("the browsers were not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    table = rows(params)
    made: list[Write | Remove] = []
    if "chromium" in listed(params, "here"):
        held = {policy: VALUES[value] for word, one, policy, value in table if one == "chromium" and word not in wanted}
        made.append(written(OWN, held) if held else Remove(path=OWN))
    if "firefox" in listed(params, "here"):
        ours = {policy: (word, VALUES[value]) for word, one, policy, value in table if one == "firefox"}
        policies = {key: value for key, value in json.loads(str(params["firefox"])).items() if key not in ours}
        policies |= {policy: value for policy, (word, value) in ours.items() if word not in wanted}
        made.append(written(SYSTEM, {"policies": policies}) if policies else Remove(path=SYSTEM))
    return tuple(made)


def watches(params: Params) -> tuple[str, ...]:
    """Name where policies are."""
    return (MANAGED, SYSTEM.rpartition("/")[0], *(path.rpartition("/")[0] for path in BESIDE))


def written(path: str, table: dict[str, Any]) -> Write:
    """Make the step that writes a file."""
    body = json.dumps(table, indent=2, sort_keys=True) + "\n"
    return Write(path=path, content=body.encode(), mode=0o644, uid=0, gid=0)


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words."""
    value = params[name]
    return value if isinstance(value, tuple) else (str(value),)


def rows(params: Params) -> list[tuple[str, str, str, str]]:
    """Return word, browser, policy and value of each row."""
    made = []
    for row in listed(params, "rows"):
        word, browser, policy, value = row.split()
        made.append((word, browser, policy, value))
    return made


def installed(system: System) -> list[str]:
    """Return the browsers that are there."""
    return [name for name, paths in PROGRAMS.items() if any(there(system, path) for path in paths)]


def table(system: System, path: str) -> dict[str, Any]:
    """Read one file of policies; Failed when it is no JSON, for then browsers differ in what they make of it."""
    try:
        found = json.loads(text(system, path) or "{}")
    except ValueError:
        raise Failed(f"{path} is not plain JSON; mend it or take it away") from None
    return found if isinstance(found, dict) else {}


def joined(system: System) -> dict[str, Any]:
    """Return what Chromium makes of all its files."""
    found: dict[str, Any] = {}
    for name in names(system, MANAGED):
        if system.stat(f"{MANAGED}/{name}").kind != "directory":
            found |= table(system, f"{MANAGED}/{name}")
    return found


def single(system: System) -> tuple[str, dict[str, Any]]:
    """Return the one file that Firefox goes by, and what it says."""
    path = next((one for one in (SYSTEM, *BESIDE) if there(system, one)), SYSTEM)
    found = table(system, path).get("policies", {})
    return path, found if isinstance(found, dict) else {}


def outdated(system: System) -> bool:
    """Say whether a Firefox runs that started before its policies changed last."""
    path = single(system)[0]
    if not there(system, path):
        return False
    changed = system.stat(path).changed
    booted = [line.split()[1] for line in text(system, "/proc/stat").split("\n") if line.startswith("btime ")]
    bare = {path.rpartition("/")[2] for path in PROGRAMS["firefox"]}
    for pid in names(system, "/proc"):
        try:
            first = text(system, f"/proc/{pid}/cmdline").split("\0")[0] if pid.isdigit() else ""
            if first.rpartition("/")[2] in bare:
                fields = text(system, f"/proc/{pid}/stat").rpartition(")")[2].split()
                ticks = int(fields[19]) if len(fields) > 19 else 0
                # The kernel tells both a start and the start of the machine to a second only.
                if (int(booted[0] if booted else 0) + ticks // TICKS + 1) * 1_000_000_000 < changed:
                    return True
        except PrivetError:  # ended meanwhile
            continue
    return False
