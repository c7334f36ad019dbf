"""Units of systemd: whether something runs now, and whether anything will start it later.

Params: `units` (full names), `safe` ("off": none of them may run; "on": all of them must), and the optional `needs`, a
path without which the setting is absent, and `told` ("yes": there are no steps). The words are off and on.

"Off" is held by a condition that is never true, in a drop-in of our own: it stops every way in (enabled, wanted by
another unit, socket, D-Bus, a person's `systemctl start`), works on units of every origin, and ends when the file is
removed. A mask cannot do that: it fails where the unit's own file lies in /etc.

Off does not hold where something else starts the same program (`agent/system/starters.py`): a unit of another name is
blocked as well, a person's own unit or timetable is named and left to its owner.

Prepared: `systemd` (whether it is the first process), `also` (units of another name) and `pulled` (units that something
would start but for us; where there are none, all that are installed: who asks for "on" wants it on).
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.pulling import at_each_start, starts
from agent.system.seen import booted, names, text
from agent.system.starters import CRONTABS, others
from agent.system.starters import running as process_of
from agent.system.starters import starts as runs
from agent.system.units import ETC, PLACES, called, drop_ins, fragment, second_names

PARAMS = ("units", "safe")
ON, OFF = "on", "off"
OWN = "zz-privet.conf"
NEVER = "ConditionPathExists=!/"
NOTE = "# Written by Privet. Remove this file and run `systemctl daemon-reload` to give the unit back to the system.\n"
PULLS = ("WantedBy", "RequiredBy", "RequisiteOf", "BoundBy", "UpheldBy")
TARGETS = {"timer": "timers.target", "socket": "sockets.target", "path": "paths.target"}

Step = Write | Remove | Run


def probe(system: System, params: Params) -> Reading:
    """Join all units: on as soon as one may run where off is safe, off as soon as one is missing where on is safe."""
    try:
        units, seconds = texts(params, "units"), second_names(system)
        files = {unit: fragment(system, unit) for unit in units}
        there = [unit for unit in units if files[unit]]
        if not there or (params["safe"] == ON and len(there) < len(units)) or not needed(system, params):
            return absent(f"{', '.join(unit for unit in units if not files[unit]) or units[0]} is not installed")
        shown = show(system, there) if booted(system) else {}
        kept = joined(params, [will_start(system, params, one, shown.get(one, {}), seconds) for one in there])
        where = elsewhere(system, params, there)[0] if params["safe"] == OFF else ""
        kept, cause = (ON, f"it is started by {where}; take that away") if where and kept == OFF else (kept, "")
    except PrivetError as error:
        return unread(str(error))
    try:
        if not shown:
            return Reading(live=joined(params, found_by_program(system, there)), kept=kept, cause=cause, absent=False)
        stale = [unit for unit in there if shown[unit].get("NeedDaemonReload") == "yes"]
        if stale:
            return unread(f"systemd has not read the files of {stale[0]} anew; run systemctl daemon-reload", kept=kept)
        live = joined(params, [running(system, unit, shown[unit]) for unit in there])
        pid = process_of(system, programs(system, there)) if params["safe"] == live == OFF else ""
        if pid:
            live, cause = ON, cause or f"it runs without its unit, as process {pid}; end that"
        return Reading(live=live, kept=kept, cause=cause, absent=False)
    except PrivetError as error:
        return unread(str(error), kept=kept)


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Block or free each unit where off is safe; pull each in or stop it where on is safe."""
    if "told" in params:
        return ()
    units = [*texts(params, "units"), *(texts(params, "also") if "also" in params else [])]
    alive = params.get("systemd", "yes") == "yes"
    reload = (system_run("daemon-reload"),) if alive else ()
    made: tuple[Step, ...]
    if params["safe"] == OFF and option == OFF:
        # A pattern matches loaded units only, so a unit that is not there is no failure.
        patterns = [f"{unit[:-1]}[{unit[-1]}]" for unit in reversed(units)]
        made = tuple(own_file(own_block(unit), f"[Unit]\n{NEVER}\n") for unit in units)
        return (*made, *reload, *((system_run("stop", *patterns),) if alive else ()))
    if params["safe"] == OFF:
        back = texts(params, "pulled") if "pulled" in params else []
        made = tuple(Remove(path=own_block(unit)) for unit in units)
        return (*made, *reload, *((system_run("start", *back),) if alive and back else ()))
    if option == ON:
        made = tuple(own_file(own_pull(unit), f"[Unit]\nWants={unit}\n") for unit in units)
        unmask = Run(argv=("systemctl", "--root=/", "unmask", *units), stdin=b"")
        return (*made, unmask, *reload, *((system_run("start", *units),) if alive else ()))
    made = tuple(Remove(path=own_pull(unit)) for unit in units)
    return (*made, *reload, *((system_run("stop", *units),) if alive else ()))


def watches(params: Params) -> tuple[str, ...]:
    """Name where unit files, drop-ins and links to units live, and where systemd notes that a unit has started."""
    found = [*PLACES, "/run/systemd/units", "/etc/systemd/user/default.target.wants", "/etc/cron.d", CRONTABS]
    for unit in texts(params, "units"):
        found += [f"{place}/{unit}.d" for place in (ETC, "/run/systemd/system")]
        found += [f"/etc/systemd/system/{target}.{kind}" for target in targets(unit) for kind in ("d", "wants")]
    return tuple(dict.fromkeys(found))


def prepare(system: System, params: Params) -> Params:
    """Add what steps have to know of this device."""
    there = [unit for unit in texts(params, "units") if fragment(system, unit)]
    alive = booted(system)
    shown = show(system, there) if alive and there else {}
    seconds = second_names(system)
    pulled = [unit for unit in there if linked(system, unit, seconds) or pulls(shown.get(unit, {}))]
    also = elsewhere(system, params, there)[1] if params["safe"] == OFF else []
    return {**params, "systemd": "yes" if alive else "no", "pulled": tuple(pulled or there), "also": tuple(also)}


def programs(system: System, units: list[str]) -> list[str]:
    """Return the programs that some units start."""
    return [path for unit in units if unit.endswith(".service") for path in commands(system, unit)]


def elsewhere(system: System, params: Params, there: list[str]) -> tuple[str, list[str]]:
    """Return what else starts the programs of these units (empty: nothing), and the system's own units among it."""
    wanted, found = programs(system, there), list[tuple[str, str]]()
    if wanted:
        every = others(system, texts(params, "units"), lambda unit: blocked(system, unit))
        found = [(where, unit) for where, unit, command in every if runs(command, wanted)]
    return found[0][0] if found else "", [unit for _, unit in found if unit]


def texts(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words."""
    value = params[name]
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def joined(params: Params, states: list[str]) -> str:
    """Return the unsafe word as soon as one state is not the safe one."""
    safe = str(params["safe"])
    return safe if all(state == safe for state in states) else (ON if safe == OFF else OFF)


def own_file(path: str, body: str) -> Write:
    """Make the step that writes a drop-in of ours."""
    return Write(path=path, content=(NOTE + body).encode(), mode=0o644, uid=0, gid=0)


def system_run(*words: str) -> Run:
    """Make the step that tells systemd something."""
    return Run(argv=("systemctl", *words), stdin=b"")


def own_block(unit: str) -> str:
    """Return the path of our drop-in that keeps a unit off."""
    return f"{ETC}/{unit}.d/{OWN}"


def own_pull(unit: str) -> str:
    """Return the path of our drop-in that starts a unit with its target."""
    return f"{ETC}/{targets(unit)[0]}.d/zz-privet-{unit}.conf"


def targets(unit: str) -> tuple[str, ...]:
    """Return the targets that usually start a unit of this type."""
    usual = TARGETS.get(unit.rsplit(".", 1)[-1])
    return (usual,) if usual else ("multi-user.target", "graphical.target")


def kind(system: System, path: str) -> str:
    """Return what a path is, empty when it is not there."""
    try:
        return system.stat(path).kind
    except Missing:
        return ""


def needed(system: System, params: Params) -> bool:
    """Say whether the path that the setting is about is there."""
    return "needs" not in params or kind(system, texts(params, "needs")[0]) != ""


def blocked(system: System, unit: str, seconds: dict[str, str] | None = None) -> bool:
    """Say whether our condition is in force: an empty condition in a later drop-in forgets all earlier ones."""
    holds = False
    for path in drop_ins(system, unit, seconds):
        for key, value in assignments(text(system, path), "Unit"):
            if key.startswith("Condition"):
                holds = bool(value) and (holds or f"{key}={value}" == NEVER)
    return holds


def linked(system: System, unit: str, seconds: dict[str, str]) -> bool:
    """Say whether a file makes a unit start."""
    return starts(system, unit, seconds) or text(system, own_pull(unit)).endswith(f"Wants={unit}\n")


def pulls(shown: dict[str, str]) -> bool:
    """Say whether systemd knows a unit that starts this one."""
    return any(shown.get(name, "") for name in PULLS)


def will_start(system: System, params: Params, unit: str, shown: dict[str, str], seconds: dict[str, str]) -> str:
    """Return on when something starts the unit sooner or later and nothing forbids it; where on is safe: at boot."""
    if not text(system, fragment(system, called(unit, seconds)[0])):  # masked
        return OFF
    if params["safe"] == ON:
        sure = at_each_start(system, unit) or text(system, own_pull(unit)).endswith(f"Wants={unit}\n")
        return ON if sure and not hindered(system, unit, seconds) else OFF
    if blocked(system, unit, seconds):
        return OFF
    return ON if linked(system, unit, seconds) or pulls(shown) else OFF


def hindered(system: System, unit: str, seconds: dict[str, str]) -> bool:
    """Say whether a drop-in makes a unit wait for a condition, or takes away what it starts or waits for."""
    for path in drop_ins(system, unit, seconds):
        said = text(system, path)
        if any(key.startswith(("Condition", "Assert")) and value for key, value in assignments(said, "Unit")):
            return True
        if any(key == "ExecStart" for key, _ in assignments(said, "Service")):
            return True
    return False


def show(system: System, units: list[str]) -> dict[str, dict[str, str]]:
    """Ask the running systemd about units."""
    wanted = ",".join(("Id", "ActiveState", "NeedDaemonReload", "TriggeredBy", *PULLS))
    outcome = system.run(("systemctl", "show", f"--property={wanted}", "--", *units))
    if outcome.code != 0:
        raise Failed("systemctl show failed; look at systemctl status")
    blocks = outcome.out.decode("utf-8", "replace").strip().split("\n\n")
    tables = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in blocks]
    if len(tables) != len(units):
        raise Failed("systemctl show answered about other units than asked; look at systemctl status")
    return dict(zip(units, tables, strict=True))


def running(system: System, unit: str, shown: dict[str, str]) -> str:
    """Return on when a unit is up, coming up or going down, or when a socket or timer waits to start it."""
    if shown.get("ActiveState") not in {"inactive", "failed"}:
        return ON
    triggers = shown.get("TriggeredBy", "").split()
    if not triggers or blocked(system, unit):
        return OFF
    waiting = show(system, triggers).values()
    return ON if any(trigger.get("ActiveState") == "active" for trigger in waiting) else OFF


def found_by_program(system: System, units: list[str]) -> list[str]:
    """Without systemd: return for each unit whether its program runs."""
    programs = set()
    for pid in names(system, "/proc"):
        if pid.isdigit():
            try:
                programs.add(system.target(f"/proc/{pid}/exe"))
            except PrivetError:  # ended meanwhile, or a thread of the kernel
                continue
    return [ON if programs & set(commands(system, unit)) else OFF for unit in units]


def commands(system: System, unit: str) -> list[str]:
    """Return the programs that a unit starts."""
    found = assignments(text(system, fragment(system, unit)), "Service")
    return [value.lstrip("@-:+!").split()[0] for key, value in found if key == "ExecStart" and value.strip("@-:+! ")]
