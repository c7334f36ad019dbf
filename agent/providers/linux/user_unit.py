"""Programs that systemd starts for a person (`systemctl --user`), whoever that is: off or on for all of them.

Param: `rows`, "word unit" each. A word is on as soon as its unit runs for somebody, or something starts it for
somebody: a link for everybody, or one in a home. Ours is a condition in a drop-in for everybody that never holds; it
counts for units in homes too, unless a home hides it.

Live is the kernel's word: a unit that runs for somebody has a control group.

Prepared: `people` (names of those for whom systemd runs something now) and `running` ("name unit" each).
"""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import BadInput, PrivetError
from agent.core.order import words
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.pulling import starts
from agent.system.seen import names, text, there
from agent.system.units import called, drop_ins, fragment, second_names

PARAMS = ("rows",)
# Highest first (systemd.unit(5)).
PLACES = tuple(
    f"{place}/systemd/user"
    for place in ("/etc/xdg", "/etc", "/run", "/usr/local/share", "/usr/share", "/usr/local/lib", "/usr/lib")
)
OURS = "/etc/systemd/user"
# Those of a person: the first two count more than all of the above, the last one more than those of /usr.
HOMES = (".config/systemd/user.control", ".config/systemd/user", ".local/share/systemd/user")
GROUPS = "/sys/fs/cgroup/user.slice"
SLICES = ("app.slice", "session.slice", "background.slice", "")
PERSONS = range(1000, 60000)
OWN = "zz-privet.conf"
NEVER = "ConditionPathExists=!/"
NOTE = "# Written by Privet. Remove this file to give the unit back to everybody who uses this device.\n"


def probe(system: System, params: Params) -> Reading:
    """Name what runs for somebody, and what will."""
    table = rows(params)
    try:
        homes = [place for home in people(system).values() for place in folders(home)]
        here = {
            word: unit for word, unit in table.items() if any(there(system, f"{p}/{unit}") for p in (*PLACES, *homes))
        }
        if not here:
            return absent(f"{' and '.join(table.values())} are not installed")
        kept = words([word for word, unit in here.items() if will_start(system, unit)])
    except PrivetError as error:
        return unread(str(error))
    try:
        units = {unit for _, unit in running(system, list(here.values()))}
        live = words([word for word, unit in here.items() if unit in units])
    except PrivetError as error:
        return unread(str(error), kept=kept)
    return Reading(live=live, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add for whom systemd runs something now."""
    found = running(system, list(rows(params).values()))
    return {**params, "people": tuple(at_work(system)), "running": tuple(f"{name} {unit}" for name, unit in found)}


def steps(params: Params, option: Value) -> tuple[Write | Remove | Run, ...]:
    """Block every unit that the value does not name and stop it for everybody; free the others."""
    if "people" not in params:
        raise BadInput("this device was not looked at first; run privet enforce again")
    wanted = option if isinstance(option, tuple) else ()
    made: list[Write | Remove | Run] = []
    stopped = []
    for word, unit in rows(params).items():
        path = f"{OURS}/{unit}.d/{OWN}"
        body = f"{NOTE}[Unit]\n{NEVER}\n".encode()
        made.append(Remove(path=path) if word in wanted else Write(path=path, content=body, mode=0o644, uid=0, gid=0))
        stopped += [row for row in listed(params, "running") if row.endswith(f" {unit}") and word not in wanted]
    made += [run(name, "daemon-reload") for name in listed(params, "people")]
    return (*made, *(run(row.split()[0], "stop", row.split()[1]) for row in stopped))


def watches(params: Params) -> tuple[str, ...]:
    """Name where units for everybody are, and who is at work."""
    own = tuple(f"{OURS}/{unit}.d" for unit in rows(params).values())
    return (*PLACES, *own, "/run/systemd/users", "/var/lib/systemd/linger")


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words."""
    value = params[name]
    return value if isinstance(value, tuple) else (str(value),)


def rows(params: Params) -> dict[str, str]:
    """Return the unit of each word."""
    return {row.split()[0]: row.split()[1] for row in listed(params, "rows")}


def run(name: str, *verb: str) -> Run:
    """Make the step that tells a person's systemd something."""
    return Run(argv=("systemctl", "--user", f"--machine={name}@.host", *verb), stdin=b"")


def people(system: System) -> dict[str, str]:
    """Return the homes of root and of everybody who is a person, by name."""
    found = {}
    for row in (line.split(":") for line in text(system, "/etc/passwd").splitlines()):
        if len(row) > 6 and row[2].isdigit() and (int(row[2]) in PERSONS or row[2] == "0") and row[5].startswith("/"):
            found[row[0]] = row[5]
    return found


def folders(home: str) -> tuple[str, ...]:
    """Return where a person's own units are."""
    return tuple(f"{home.rstrip('/')}/{one}" for one in HOMES)


def will_start(system: System, unit: str) -> bool:
    """Say whether something starts a unit for somebody."""
    for home in people(system).values():
        mine = folders(home)
        places = (*mine[:2], *PLACES[:3], mine[2], *PLACES[3:])
        seconds = second_names(system, places)
        own = fragment(system, called(unit, seconds)[0], places)
        free = own and text(system, own) and not blocked(system, places, unit, seconds)
        if free and starts(system, unit, seconds, places):
            return True
    return False


def blocked(system: System, places: tuple[str, ...], unit: str, seconds: dict[str, str]) -> bool:
    """Say whether our condition is in force: an empty condition in a later drop-in forgets all earlier ones."""
    holds = False
    for path in drop_ins(system, unit, seconds, places):
        for key, value in assignments(text(system, path), "Unit"):
            if key.startswith("Condition"):
                holds = bool(value) and (holds or f"{key}={value}" == NEVER)
    return holds


def at_work(system: System) -> dict[str, str]:
    """Return the control groups of those for whom systemd runs something now, by name."""
    known = {line.split(":")[2]: line.split(":")[0] for line in text(system, "/etc/passwd").splitlines() if ":" in line}
    found = {}
    for name in names(system, GROUPS):
        number = name.removeprefix("user-").removesuffix(".slice")
        place = f"{GROUPS}/{name}/user@{number}.service"
        if number.isdigit() and there(system, place):
            found[known.get(number, number)] = place
    return found


def running(system: System, units: list[str]) -> list[tuple[str, str]]:
    """Return for whom which of these units runs."""
    found = []
    for name, place in at_work(system).items():
        for unit in units:
            paths = [f"{place}/{part}/{unit}" if part else f"{place}/{unit}" for part in SLICES]
            if any(there(system, path) for path in paths):
                found.append((name, unit))
    return found
