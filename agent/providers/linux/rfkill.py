"""Radios of one kind, switched off by the kernel: no program sends or hears by them.

Params: `kind` (as the kernel calls it: wlan, bluetooth), `words` (strict and loose, blank separated), and the optional
`carries` (patterns of network interfaces that are this radio: where one is the only network that is up, it stays on).

What is live is the kernel's; what is kept is what systemd-rfkill notes a moment later and restores at each start. Where
it is not installed, or has noted nothing of a radio, that comes up switched on.

Prepared: `only` (an interface of this radio that is up while no other network is).
"""

from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import LockOut, Missing, PrivetError
from agent.core.plan import Run
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System

PARAMS = ("kind", "words")
SHOWN, NOTED, NET = "/sys/class/rfkill", "/var/lib/systemd/rfkill", "/sys/class/net"


def probe(system: System, params: Params) -> Reading:
    """Join every radio of the kind, and every note of one."""
    strict, loose = str(params["words"]).split()
    try:
        radios = [f"{SHOWN}/{name}" for name in names(system, SHOWN)]
        mine = [place for place in radios if said(system, f"{place}/type") == str(params["kind"])]
        if not mine:
            return absent(f"no radio of the kind {params['kind']!s} is in this device")
        on = [place for place in mine if said(system, f"{place}/soft") != "1" and said(system, f"{place}/hard") != "1"]
    except PrivetError as error:
        return unread(str(error))
    live = loose if on else strict
    try:
        notes = [name for name in names(system, NOTED) if name.endswith(f":{params['kind']!s}")]
        shut = [name for name in notes if said(system, f"{NOTED}/{name}") == "1"]
    except PrivetError as error:
        return unread(str(error), live=live)
    kept = strict if notes and len(shut) == len(notes) else loose
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Run, ...]:
    """Switch all radios of the kind off or on; systemd notes it for the next start."""
    off = option == str(params["words"]).split()[0]
    if off and str(params.get("only", "")):
        raise LockOut(
            f"{params['only']!s} is the only network that is up; connect a cable, then run privet enforce again"
        )
    return (Run(argv=("rfkill", "block" if off else "unblock", str(params["kind"])), stdin=b""),)


def watches(params: Params) -> tuple[str, ...]:
    """Name where systemd notes the state of radios (the kernel sends no news of /sys)."""
    return (NOTED,)


def prepare(system: System, params: Params) -> Params:
    """Add whether this radio is the only network."""
    up = [name for name in names(system, NET) if name != "lo" and said(system, f"{NET}/{name}/operstate") == "up"]
    real = [name for name in up if names(system, f"{NET}/{name}/device")]
    patterns = [str(one) for one in carried(params)]
    mine = [name for name in real if any(fnmatchcase(name, pattern) for pattern in patterns)]
    return {**params, "only": mine[0] if mine and len(mine) == len(real) else ""}


def carried(params: Params) -> tuple[object, ...]:
    """Return the patterns of interfaces that are this radio."""
    value = params.get("carries", ())
    return value if isinstance(value, tuple) else (value,)


def names(system: System, directory: str) -> tuple[str, ...]:
    """Return the names in a directory, none when it is not there."""
    try:
        return system.entries(directory)
    except Missing:
        return ()


def said(system: System, path: str) -> str:
    """Return what a small file says, empty when it is not there."""
    return (board.there(system, path) or b"").decode("ascii", "replace").strip()
