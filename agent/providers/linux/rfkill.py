"""Radios of one kind, switched off by the kernel: no program sends or hears by them.

Params: `kind` (as the kernel calls it: wlan, bluetooth) and `words` (strict and loose, blank separated).

What is live is the kernel's; what is kept is what systemd-rfkill notes a moment later and restores at each start. Where
it is not installed or nothing starts it (its socket does), or it has noted nothing of a radio, that comes up switched
on. It notes each radio by the place that udev gives it, and all that have none (by software, at some buses) as one.
A Wi-Fi radio that was given to another network namespace is listed here and not seen, and goes on sending there.
Found and told: it may be the owner's only network, and the guard opens no device, /dev/rfkill neither.
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError
from agent.core.record import Params, Value
from agent.system import board
from agent.system.door import System
from agent.system.seen import names, text
from agent.system.units import fragment

PARAMS = ("kind", "words")
UNITS = ("systemd-rfkill.socket", "systemd-rfkill.service")
YES, NO = {"1", "yes", "y", "true", "t", "on"}, {"0", "no", "n", "false", "f", "off"}
GIVEN = "wlan"  # the kind whose radios a network namespace can have
SHOWN, NOTED, PLACED = "/sys/class/rfkill", "/var/lib/systemd/rfkill", "/run/udev/data/+rfkill:"


def probe(system: System, params: Params) -> Reading:
    """Join every radio of the kind, and every note of one."""
    strict, loose = str(params["words"]).split()
    try:
        radios = {f"{SHOWN}/{name}": said(system, f"{SHOWN}/{name}/type") for name in names(system, SHOWN)}
        mine = [place for place, kind in radios.items() if kind == str(params["kind"])]
        away = [place for place, kind in radios.items() if not kind and str(params["kind"]) == GIVEN]
        if not mine and not away:
            return absent(f"no radio of the kind {params['kind']!s} is in this device")
        on = [place for place in mine if said(system, f"{place}/soft") != "1" and said(system, f"{place}/hard") != "1"]
    except PrivetError as error:
        return unread(str(error))
    if away and not on:
        return unread(f"{away[0]} was given to another network namespace, and may send there; end what has it")
    live = loose if on else strict
    try:
        kept = strict if stay_off(system, str(params["kind"]), mine) and restores(system) else loose
    except PrivetError as error:
        return unread(str(error), live=live)
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[()]:
    """Nothing: its owner says `rfkill block`, or that it belongs there."""
    return ()


def watches(params: Params) -> tuple[str, ...]:
    """Name where systemd notes the state of radios (the kernel sends no news of /sys)."""
    return (NOTED, "/etc/systemd/system")


def stay_off(system: System, kind: str, mine: list[str]) -> bool:
    """Say whether each of these radios has a note, and all notes of the kind say that it is off."""
    noted = {name for name in names(system, NOTED) if name == kind or name.endswith(f":{kind}")}
    shut = all(said(system, f"{NOTED}/{name}").lower() in YES for name in noted)
    return shut and noted.issuperset(note(system, place, kind) for place in mine)


def note(system: System, place: str, kind: str) -> str:
    """Return the name of the note of a radio."""
    rows = text(system, f"{PLACED}{place.rpartition('/')[2]}").splitlines()
    path = next((row.partition("=")[2] for row in rows if row.startswith("E:ID_PATH=")), "")
    return f"{path}:{kind}" if path else kind


def restores(system: System) -> bool:
    """Say whether somebody takes up the notes at the next start."""
    words = said(system, "/proc/cmdline").split()
    off = any(word.partition("=")[0] == "systemd.restore_state" and word.partition("=")[2] in NO for word in words)
    return not off and all((path := fragment(system, unit)) and text(system, path) for unit in UNITS)


def said(system: System, path: str) -> str:
    """Return what a small file says, empty when it is not there."""
    return (board.there(system, path) or b"").decode("ascii", "replace").strip()
