"""Radios of one kind, switched off by the kernel: no program sends or hears by them.

Params: `kind` (as the kernel calls it: wlan, bluetooth) and `words` (strict and loose, blank separated).

What is live is the kernel's; what is kept is what systemd-rfkill notes a moment later and restores at each start. Where
it is not installed, or has noted nothing of a radio, that comes up switched on.
Found and told: it may be the owner's only network, and the guard opens no device, /dev/rfkill neither.
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names, text
from agent.system.units import PLACES

PARAMS = ("kind", "words")
UNIT, NO = "systemd-rfkill.service", {"0", "no", "n", "false", "f", "off"}
SHOWN, NOTED = "/sys/class/rfkill", "/var/lib/systemd/rfkill"


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
    kept = strict if notes and len(shut) == len(notes) and restores(system) else loose
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[()]:
    """Nothing: its owner says `rfkill block`, or that it belongs there."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where systemd notes the state of radios (the kernel sends no news of /sys)."""
    return (NOTED, "/etc/systemd/system")


def restores(system: System) -> bool:
    """Say whether somebody takes up the notes at the next start."""
    words = said(system, "/proc/cmdline").split()
    off = any(word.partition("=")[0] == "systemd.restore_state" and word.partition("=")[2] in NO for word in words)
    return not off and all(text(system, f"{place}/{UNIT}") for place in PLACES if UNIT in names(system, place))


def said(system: System, path: str) -> str:
    """Return what a small file says, empty when it is not there."""
    return (board.there(system, path) or b"").decode("ascii", "replace").strip()
