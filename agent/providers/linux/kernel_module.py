"""Modules of the kernel that this device needs for nothing: whether they are loaded, and whether they could be.

Params: `name` (of our file in modprobe.d), `modules`, and the optional `carries` (patterns of network interfaces that
exist by one of them: where such a one is up, the owner may be coming in by it, and the modules are left alone).

The value is the set of modules that are loaded (live), and of those that nothing keeps from being loaded (kept): by a
program that asks for a protocol, by a plug, or by name. Only `install … false` in modprobe.d keeps out all of them; a
`blacklist` is overheard when a module is asked for by name. What is loaded already stays until the next start.

Prepared: `used` (interfaces that are up by one of them).
"""

import re
from fnmatch import fnmatchcase

from agent.core.assess import Reading, unread
from agent.core.errors import LockOut, Missing, PrivetError
from agent.core.order import words
from agent.core.plan import Remove, Write
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names

PARAMS = ("name", "modules")
RESTART = True
# Highest first; a file hides those of the same name further down (modprobe.d(5)).
FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
ENDINGS = (".conf", ".alias")  # both are read
NOTHING = {"/bin/false", "/usr/bin/false", "/bin/true", "/usr/bin/true"}
PAIR = re.compile(r"\\(.)", re.DOTALL)  # a backslash and what it stands before
NOTE = "# Written by Privet. Removing this file lets these modules be loaded again.\n"


def probe(system: System, params: Params) -> Reading:
    """Join what is loaded now with what could be."""
    wanted = texts(params, "modules")
    try:
        said = commands(system)
        kept = words([name for name in wanted if not shut(said, name)])
    except PrivetError as error:
        return unread(str(error))
    try:
        loaded = {row.split(" ")[0] for row in system.read("/proc/modules").decode("ascii", "replace").splitlines()}
    except Missing:
        loaded = set()  # a kernel that loads none
    except PrivetError as error:
        return unread(str(error), kept=kept)
    live = words([name for name in wanted if name in loaded])
    waits = f"{live[0]} stays loaded until the next start of this device; restart it" if live and not kept else ""
    return Reading(live=live, kept=kept, cause=waits, absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Remove, ...]:
    """Say of each module that is not allowed that loading it does nothing."""
    allowed = option if isinstance(option, tuple) else ()
    out = [name for name in texts(params, "modules") if name not in allowed]
    for name in out:
        board.refused(name, board.NEVER_MODULES)
    used = texts(params, "used")
    if used and out:
        raise LockOut(f"{used[0]} is up, and you may be coming in by it; unplug it, then run privet enforce again")
    path = f"{FOLDERS[0]}/00-privet-{texts(params, 'name')[0]}.conf"
    if not out:
        return (Remove(path=path),)
    body = NOTE + "".join(f"install {name} /bin/false\n" for name in sorted(out))
    return (Write(path=path, content=body.encode(), mode=0o644, uid=0, gid=0),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where modprobe looks (the kernel sends no news of modules that are loaded)."""
    return FOLDERS[:4]


def prepare(system: System, params: Params) -> Params:
    """Add the interfaces that may carry somebody."""
    used = []
    for name in names(system, "/sys/class/net"):
        up = (board.there(system, f"/sys/class/net/{name}/operstate") or b"").strip() == b"up"
        if up and any(fnmatchcase(name, pattern) for pattern in texts(params, "carries")):
            used.append(name)
    return {**params, "used": tuple(used)}


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words, empty when it is not given."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def commands(system: System) -> list[tuple[str, bool]]:
    """Return each pattern of names that has a command, and whether that does nothing, in the order of files' names."""
    chosen: dict[str, str] = {}
    for folder in FOLDERS:
        for name in names(system, folder):
            if name.endswith(ENDINGS) and not name.startswith("."):
                chosen.setdefault(name, f"{folder}/{name}")
    found = []
    for name in sorted(chosen):
        text = (board.there(system, chosen[name]) or b"").decode("utf-8", "replace")
        for row in lines(text):
            parts = [part for part in row.replace("\t", " ").split(" ") if part]
            if len(parts) > 2 and parts[0] == "install":
                # The rest of the line is for a shell: what only begins with nothing may do something after it.
                found.append((parts[1].replace("-", "_"), len(parts) == 3 and parts[2].strip() in NOTHING))
    return found


def lines(text: str) -> list[str]:
    """Return the lines as libkmod cuts them: a backslash takes the line feed away, remarks begin a line."""
    joined = PAIR.sub(lambda pair: pair[1].replace("\n", ""), text)
    return [line for line in joined.split("\n") if not line.startswith("#")]


def shut(said: list[tuple[str, bool]], name: str) -> bool:
    """Say whether loading a module does nothing: the first command whose pattern fits counts."""
    return next((nothing for pattern, nothing in said if fnmatchcase(name, pattern)), False)
