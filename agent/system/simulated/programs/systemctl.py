"""systemd as seen through systemctl: units from files and drop-ins, as they were when it last read them.

It starts at each boot what is wanted by links, starts nothing that is masked or whose conditions do not hold, and knows
files that have changed since only after `daemon-reload`. A unit whose program is simulated is that program's process.
"""

import importlib
import importlib.util
import weakref
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from types import ModuleType
from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated import user_units
from agent.system.simulated.programs import sshd, systemd_getty_generator, udevadm
from agent.system.simulated.unit_files import MASK, PLACES, Lines, conditions_hold, lines, names, text

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

MADE = "/run/systemd/generator"  # what generators made at this start
STARTED = "/run/systemd/units"
DAEMONS: dict[str, ModuleType] = {"sshd": sshd, "udevadm": udevadm}  # and every program that says its UNIT
PIDFILES = {"avahi-daemon": "/run/avahi-daemon/pid"}  # of programs that write their number down
INIT = "/usr/lib/systemd/systemd"  # without it a device starts without systemd

PROGRAMS = "agent.system.simulated.programs."


class Refusal(Exception):
    """Why something is not done, and systemctl's exit code."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


class Systemd:
    """The first process: what it has read, and what it runs (unit: start in microseconds)."""

    def __init__(self) -> None:
        self.read: dict[str, Lines] = {}
        self.active: dict[str, int] = {}
        self.begun: set[str] = set()  # what was started and never told to end


BOOTED: "weakref.WeakKeyDictionary[SimulatedSystem, Systemd]" = weakref.WeakKeyDictionary()


def boot(device: "SimulatedSystem") -> None:
    """Read all units and start those that are wanted, if systemd is installed."""
    BOOTED.pop(device, None)
    if not text(device, INIT):
        return
    device.hand.directory("/run/systemd/system", volatile=True)
    device.hand.directory(STARTED, volatile=True)
    BOOTED[device] = Systemd()
    systemd_getty_generator.run(device, (MADE,), b"")
    reread(device)
    for unit in sorted(wanted(device)):
        try:
            start(device, unit)
        except Refusal:
            continue
    user_units.boot(device)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Do one verb."""
    words = [word for word in argv[1:] if not word.startswith("--")]
    flags = [word for word in argv[1:] if word.startswith("--")]
    if not words:
        return Outcome(code=1, out=b"", err=b"systemctl: no verb\n")
    if "--user" in flags:
        return user_units.run(device, argv)
    verb, units = words[0], [unit if "." in unit else f"{unit}.service" for unit in words[1:]]
    out = ""
    if device not in BOOTED and "--root=/" not in flags:
        return Outcome(code=1, out=b"", err=b"System has not been booted with systemd as init system (PID 1).\n")
    try:
        if verb == "show":
            out = "\n".join(shown(device, unit, flags) for unit in units)
        elif verb == "daemon-reload":
            reread(device)
        elif verb in {"mask", "unmask", "enable", "disable"}:
            change_links(device, verb, units)
        else:
            for unit in matching(device, units):
                act(device, verb, unit)
    except Refusal as error:
        return Outcome(code=error.code, out=b"", err=f"{error}\n".encode())
    return Outcome(code=0, out=out.encode(), err=b"")


def daemon(name: str) -> ModuleType | None:
    """Return the simulated program of a service, None when there is none."""
    word = name.replace("-", "_").replace(".", "_").lower()
    if name not in DAEMONS and word.isidentifier() and importlib.util.find_spec(PROGRAMS + word):
        found = importlib.import_module(PROGRAMS + word)
        if hasattr(found, "UNIT"):
            DAEMONS[name] = found
    return DAEMONS.get(name)


def act(device: "SimulatedSystem", verb: str, unit: str) -> None:
    """Do a verb that changes one running unit."""
    alive = running(device, unit)
    if unit not in BOOTED[device].read:
        raise Refusal(f"Unit {unit} not found.", 5)
    if verb in {"start", "restart"} or (verb == "try-restart" and alive):
        if verb != "start":
            stop(device, unit)
        start(device, unit)
    elif verb == "stop":
        stop(device, unit)
    elif verb == "reload" or (verb == "try-reload-or-restart" and alive):
        name = program(device, unit).rpartition("/")[2]
        module = daemon(name)
        again = getattr(module, "reload", None)
        for process in device.running(name) if again is not None else ():
            module.reload(device, process)  # type: ignore[union-attr]
        if not again and verb == "reload":
            raise Refusal(f"Failed to reload {unit}: Job type reload is not applicable", 1)
        if not again:
            stop(device, unit)
            start(device, unit)
    elif verb not in {"try-restart", "try-reload-or-restart"}:
        raise Refusal(f"Unknown command verb {verb}.", 1)


def matching(device: "SimulatedSystem", words: list[str]) -> list[str]:
    """Return the units that words name; a pattern (a letter in brackets, @*) matches running units only."""
    found = []
    for word in words:
        if "@*" in word:
            found += [unit for unit in BOOTED[device].active if fnmatchcase(unit, word)]
            continue
        plain = word.replace("[", "").replace("]", "")
        if plain == word or running(device, plain):
            found.append(plain)
    return found


def reread(device: "SimulatedSystem") -> None:
    """Read all files of units anew."""
    every = {name for place in PLACES for name in names(device, place) if name.rpartition(".")[2] in TYPES}
    every |= {unit for unit in [*wanted(device), *BOOTED[device].active] if "@" in unit}
    BOOTED[device].read = {unit: lines(device, unit) for unit in sorted(every)}


TYPES = {"service", "socket", "timer", "target", "path"}


def wanted(device: "SimulatedSystem") -> set[str]:
    """Return the units that a link or a target's own file wants."""
    found: set[str] = set()
    for place in (*PLACES, MADE):
        for name in names(device, place):
            if name.endswith(".target.wants"):
                found.update(names(device, f"{place}/{name}"))
    for unit, read in BOOTED[device].read.items():
        if unit.endswith(".target"):
            found.update(one for key, value in read if key == "Unit.Wants" for one in value.split())
    return found


def program(device: "SimulatedSystem", unit: str) -> str:
    """Return the program of a service."""
    values = [value for key, value in BOOTED[device].read.get(unit, ()) if key == "Service.ExecStart" and value]
    return values[-1].split()[0].lstrip("-@:+!") if values else ""


def running(device: "SimulatedSystem", unit: str) -> bool:
    """Say whether a unit is up."""
    name = program(device, unit).rpartition("/")[2]
    return bool(device.running(name)) if daemon(name) else unit in BOOTED[device].active


def start(device: "SimulatedSystem", unit: str) -> None:
    """Start a unit, unless it runs; one whose conditions do not hold is skipped, which is no failure."""
    systemd = BOOTED[device]
    read = systemd.read.get(unit, ())
    if not read:
        raise Refusal(f"Failed to start {unit}: Unit {unit} is masked or not found.", 1)
    if running(device, unit) or not conditions_hold(device, read):
        return
    systemd.begun.add(unit)
    path = program(device, unit)
    name = path.rpartition("/")[2]
    module = daemon(name)
    if module:
        module.boot(device)
        return
    if path:
        process = device.start((path,), None, pidfile=PIDFILES.get(name, ""))
        device.hand.link(f"/proc/{process.pid}/exe", path)
    systemd.active[unit] = moment(device)
    device.hand.link(f"{STARTED}/invocation:{unit}", f"{moment(device):032x}")


def stop(device: "SimulatedSystem", unit: str) -> None:
    """Stop a unit and its process."""
    name = program(device, unit).rpartition("/")[2]
    for process in device.running(name) if name else ():
        device.stop(process.pid)
        device.hand.discard(PIDFILES.get(name, "/run/no-pidfile"))
    BOOTED[device].active.pop(unit, None)
    BOOTED[device].begun.discard(unit)
    device.hand.discard(f"{STARTED}/invocation:{unit}")


def moment(device: "SimulatedSystem") -> int:
    """Return this moment in microseconds of the clock that stamps files; no file can be changed in the same one."""
    root = device.disk.root
    device.disk.touch(root)
    while root.changed % 1000:
        device.disk.touch(root)
    return root.changed // 1000


def change_links(device: "SimulatedSystem", verb: str, units: list[str]) -> None:
    """Mask, unmask, enable or disable units by links in /etc."""
    for unit in units:
        path = f"{PLACES[0]}/{unit}"
        section = dict(lines(device, unit))
        link = f"{PLACES[0]}/{section.get('Install.WantedBy', 'multi-user.target')}.wants/{unit}"
        if verb == "mask":
            device.hand.link(path, MASK)
        elif verb == "unmask" and unit in names(device, PLACES[0]) and not text(device, path):
            device.hand.discard(path)
        elif verb == "enable":
            device.hand.link(link, f"{PLACES[-1]}/{unit}")
        elif verb == "disable":
            device.hand.discard(link)
    if device in BOOTED:
        reread(device)


def shown(device: "SimulatedSystem", unit: str, flags: list[str]) -> str:
    """Return the properties that were asked for, one a line."""
    systemd = BOOTED[device]
    stem, name = unit.rpartition(".")[0], program(device, unit).rpartition("/")[2]
    triggers = [f"{stem}.{kind}" for kind in ("socket", "timer", "path") if f"{stem}.{kind}" in systemd.read]
    by = [name.rpartition(".")[0] for place in PLACES for name in names(device, place)
          if name.endswith(".wants") and unit in names(device, f"{place}/{name}")]  # fmt: skip
    began = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=systemd.active.get(unit, 0))
    known = {
        "Id": unit,
        "LoadState": "loaded" if systemd.read.get(unit) else "masked" if unit in systemd.read else "not-found",
        "ActiveState": "active" if running(device, unit) else "inactive",
        "Result": "signal" if name and unit in systemd.begun and not device.running(name) else "success",
        "NeedDaemonReload": "yes" if unit in systemd.read and systemd.read[unit] != lines(device, unit) else "no",
        "TriggeredBy": " ".join(triggers) if unit.endswith(".service") else "",
        "WantedBy": " ".join(sorted(set(by))),
        "ExecMainStartTimestamp": began.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC") if unit in systemd.active else "",
    }
    asked = [name for flag in flags if flag.startswith("--property=") for name in flag[11:].split(",")]
    return "".join(f"{name}={known.get(name, '')}\n" for name in asked or known)
