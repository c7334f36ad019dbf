"""Words of the kernel's line in cmdline.txt, and what they bring to life: a console, and a login on it.

Params: `words` (patterns that are loose), `say` (the word that makes it loose), `ladder` (strict, loose and
loosest, blank separated), and
`unit` (a template of units that the loosest rung is about: the kernel's console gets a login by itself).

The line is overwritten where it lies, as long as before (`agent/system/board.py`); it holds from the next start on. The
login ends at once: a drop-in of ours keeps the units from starting, whoever wants them.

Prepared: `path` and `line` (the file and its bytes), `gone` (loose words in it), `systemd`, `pulled` (units).
"""

from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError, Refused
from agent.core.plan import Overwrite, Remove, Run, Write
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names, there

PARAMS = ("words", "say", "ladder", "unit")
RESTART = True
WAITS = "the kernel goes on writing there until the next start of this device; restart it"
LIVE = "/proc/cmdline"
STARTED = "/run/systemd/units"  # systemd notes there each unit that is up
PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
NOTE = "# Written by Privet. Remove this file and run `systemctl daemon-reload` to give the unit back to the system.\n"
BLOCK = (NOTE + "[Unit]\nConditionPathExists=!/\n").encode()


def probe(system: System, params: Params) -> Reading:
    """Join the running kernel's line with the units that are up, and the next start's line with those that will be."""
    strict, loose, loosest = str(params["ladder"]).split()
    try:
        place = board.partition(system)
        if not place:
            return absent("this device has no boot partition of a Raspberry Pi")
        said = spoken(params, board.kernel_line(system, place)[1])
        free = not blocked(system, params)
        kept = loosest if free and (said or wanted(system, params)) else loose if said else strict
    except PrivetError as error:
        return unread(str(error))
    try:
        now = spoken(params, system.read(LIVE))
        live = loosest if running(system, params) else loose if now else strict
    except PrivetError as error:
        return unread(str(error), kept=kept)
    waits = WAITS if kept == strict and live == loose else ""
    return Reading(live=live, kept=kept, cause=waits, absent=False)


def steps(params: Params, option: Value) -> tuple[Overwrite | Write | Remove | Run, ...]:
    """Take the words out or put one back; keep the login off or give it back."""
    if "line" not in params:
        raise Refused("the boot partition was not looked at first; run privet enforce again")
    strict, _, loosest = str(params["ladder"]).split()
    path, line, unit = str(params["path"]), params["line"], texts(params, "unit")[0]
    content = line if isinstance(line, bytes) else b""
    patterns = texts(params, "words")
    if option == strict:
        changed = board.without_words(path, content, patterns)
    elif texts(params, "gone"):
        changed = ()
    else:
        changed = board.with_word(path, content, texts(params, "say")[0])
    own = f"{PLACES[0]}/{unit}.d/zz-privet.conf"
    alive = params.get("systemd") == "yes"
    reload = (Run(argv=("systemctl", "daemon-reload"), stdin=b""),) if alive else ()
    if option == loosest:
        return (*changed, Remove(path=own), *reload)
    stop = Run(argv=("systemctl", "stop", unit.replace("@.", "@*.")), stdin=b"")
    block = Write(path=own, content=BLOCK, mode=0o644, uid=0, gid=0)
    return (*changed, block, *reload, *((stop,) if alive else ()))


def watches(params: Params) -> tuple[str, ...]:
    """Name where the boot partition is mounted, where units live, and where systemd notes which are up."""
    unit = texts(params, "unit")[0]
    folders = [f"{place}/{name}" for place in PLACES[:2] for name in (f"{unit}.d", "getty.target.wants")]
    return (*board.PLACES, *PLACES[:2], *folders, STARTED)


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    place = board.partition(system)
    if not place:
        return params
    path, line = board.kernel_line(system, place)
    booted = "/run/systemd/system"
    alive = "yes" if there(system, booted) else "no"
    return {**params, "path": path, "line": line, "gone": tuple(spoken(params, line)), "systemd": alive}


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words."""
    value = params.get(name, ())
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def spoken(params: Params, line: bytes) -> list[str]:
    """Return the loose words of a line."""
    said = [board.plain(word) for _, word in board.words(line)]
    return [word for word in said if any(fnmatchcase(word, one) for one in texts(params, "words"))]


def halves(params: Params) -> tuple[str, str]:
    """Return what stands before and behind the instance of the template."""
    before, _, behind = texts(params, "unit")[0].partition("@")
    return f"{before}@", behind


def running(system: System, params: Params) -> bool:
    """Say whether an instance of the template is up."""
    start, end = halves(params)
    return any(n.startswith(f"invocation:{start}") and n.endswith(end) for n in names(system, STARTED))


def wanted(system: System, params: Params) -> bool:
    """Say whether a link makes an instance start, whatever the kernel's line says."""
    start, end = halves(params)
    folders = [f"{place}/{name}" for place in PLACES for name in names(system, place) if name.endswith(".wants")]
    return any(n.startswith(start) and n.endswith(end) for folder in folders for n in names(system, folder))


def blocked(system: System, params: Params) -> bool:
    """Say whether our drop-in keeps all instances off; a later one that speaks of conditions may undo it."""
    start, end = halves(params)
    holds = False
    for place in reversed(PLACES):
        for folder in names(system, place):
            if not (folder.startswith(start) and folder.endswith(f"{end}.d")):
                continue
            for name in names(system, f"{place}/{folder}"):
                content = board.there(system, f"{place}/{folder}/{name}") or b""
                if name > "zz-privet.conf" and b"Condition" in content:
                    return False
                holds = holds or (folder == f"{start}{end}.d" and name == "zz-privet.conf" and content == BLOCK)
    return holds
