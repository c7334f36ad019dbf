"""Device nodes: who may open them (a rule for udev), and who has them open.

Params: `name` (of our rule's file), `subsystem`, `nodes` (patterns), `group` (what Debian's rules give them to).
Values: closed (nobody but root), group (that group, and whoever sits at the device), everyone.

A program that has one open although nobody may is found as if the group could: it sees what the device sees. Root can
open anything; what it has open is found the same way. Absent where no such device is and no rule of ours either: the
rule is then of no use to anybody.

Prepared: `live` (whether udev runs here).
"""

import re
from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError, Unreadable
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.seen import names, there

PARAMS = ("name", "subsystem", "nodes", "group")
LADDER = ("closed", "group", "everyone")
# Highest first; a file hides those of the same name further down (udev(7)).
FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d")
SETTLED = "/run/udev/control"
NOTE = "# Written by Privet. Remove this file to give these devices back to the system.\n"
GIVEN = re.compile(r'\bMODE\s*(:?=)\s*"([0-7]{3,5})"')
MODES = {"closed": "0000", "group": "0660", "everyone": "0666"}


def probe(system: System, params: Params) -> Reading:
    """Join the rights of every node with who has one open; what is kept is what udev's rules say."""
    try:
        found = nodes(system, params)
        kept = kept_value(system, params)
        if not found and not there(system, path_of(params)):
            return absent(f"no device of the kind {words(params, 'nodes')[0]} is here")
    except PrivetError as error:
        return unread(str(error))
    try:
        live = max((rights(system, path) for path in found), key=LADDER.index, default="closed")
        holder = holding(system, found) if live == "closed" else ""
    except PrivetError as error:
        return unread(str(error), kept=kept)
    if holder:
        return Reading(live="group", kept=kept, cause=f"{holder} has it open; end that program", absent=False)
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Remove | Run, ...]:
    """Write our rule and let udev go over the devices that are here; what Debian does needs no rule."""
    own = path_of(params)
    made: tuple[Write | Remove | Run, ...] = (Remove(path=own),)
    if option != "group":
        made = (Write(path=own, content=rule(params, str(option)), mode=0o644, uid=0, gid=0),)
    if params.get("live", "yes") != "yes":
        return made
    return (
        *made,
        Run(argv=("udevadm", "control", "--reload"), stdin=b""),
        Run(argv=("systemctl", "restart", "systemd-udev-trigger.service"), stdin=b""),  # /sys is not ours to write
        Run(argv=("udevadm", "settle", "--timeout=15"), stdin=b""),
    )


def watches(params: Params) -> tuple[str, ...]:
    """Name where rules and the nodes are."""
    return (*FOLDERS, *dict.fromkeys(node.rpartition("/")[0] for node in words(params, "nodes")))


def prepare(system: System, params: Params) -> Params:
    """Add whether udev runs here."""
    return {**params, "live": "yes" if there(system, SETTLED) else "no"}


def path_of(params: Params) -> str:
    """Return the file of our rule: after what gives devices to who sits here, before what acts by it."""
    return f"{FOLDERS[0]}/72-privet-{one(params, 'name')}.rules"


def rule(params: Params, option: str) -> bytes:
    """Write the rule; := is the last word on a matter."""
    lines = NOTE
    for node in words(params, "nodes"):
        kernel = node.rpartition("/")[2]
        match = f'SUBSYSTEM=="{one(params, "subsystem")}", KERNEL=="{kernel}"'
        if option == "closed":
            lines += f'{match}, TAG-="uaccess", OWNER:="root", GROUP:="root", MODE:="{MODES[option]}"\n'
        else:
            lines += f'{match}, MODE:="{MODES[option]}"\n'
    return lines.encode()


def words(params: Params, name: str) -> list[str]:
    """Return a parameter as a list of words."""
    value = params[name]
    return [str(word) for word in value] if isinstance(value, tuple) else [str(value)]


def one(params: Params, name: str) -> str:
    """Return a parameter that is one word."""
    return words(params, name)[0]


def nodes(system: System, params: Params) -> list[str]:
    """Return the device nodes that are here."""
    found = []
    for folder in dict.fromkeys(node.rpartition("/")[0] for node in words(params, "nodes")):
        for name in names(system, folder):
            path = f"{folder}/{name}"
            if any(fnmatchcase(path, node) for node in words(params, "nodes")) and system.stat(path).kind == "device":
                found.append(path)
    return found


def rights(system: System, path: str) -> str:
    """Say who may open a node; an access list shows in the bits of the group, which hold its mask."""
    stat = system.stat(path)
    if stat.mode & 0o006:
        return "everyone"
    return "group" if stat.mode & 0o060 or (stat.uid and stat.mode & 0o600) else "closed"


def kept_value(system: System, params: Params) -> str:
    """Say what the rules come to: ours has the last word where it stands, else any that opens them to everyone."""
    own = path_of(params).rpartition("/")[2]
    chosen: dict[str, str] = {}
    for folder in FOLDERS:
        for name in names(system, folder):
            if name.endswith(".rules"):
                chosen.setdefault(name, f"{folder}/{name}")
    loose, beaten = False, False
    for name in sorted(chosen):
        raw = system.read(chosen[name]) if target_of(system, chosen[name]) != "/dev/null" else b""
        if name == own and raw in (rule(params, "closed"), rule(params, "everyone")):
            return "closed" if raw == rule(params, "closed") and not beaten else "everyone"
        signs = opened(params, raw.decode("utf-8", "replace"))
        loose = loose or bool(signs)
        beaten = beaten or ":=" in signs  # it stands before ours, and nothing after it counts
    return "everyone" if loose else "group"


def target_of(system: System, path: str) -> str:
    """Return where a link leads, empty for a file."""
    try:
        return system.target(path)
    except Unreadable:
        return ""


def about(params: Params, line: str) -> bool:
    """Say whether a rule is about these devices: it names their subsystem, or their names."""
    kernels = [node.rpartition("/")[2] for node in words(params, "nodes")]
    named = re.findall(r'\bKERNEL=="([^"]*)"', line)
    of_them = any(
        fnmatchcase(one.replace("*", "0"), kernel) for name in named for one in name.split("|") for kernel in kernels
    )
    return of_them or (f'SUBSYSTEM=="{one(params, "subsystem")}"' in line and not named)


def opened(params: Params, text: str) -> list[str]:
    """Return the signs (= or :=) by which rules open these devices to everyone; none when none does."""
    rows = [row for row in text.replace("\\\n", " ").splitlines() if about(params, row) and row[:1] != "#"]
    return [sign for row in rows for sign, mode in GIVEN.findall(row) if int(mode, 8) & 0o006]


def holding(system: System, found: list[str]) -> str:
    """Name a program that has one of these nodes open, empty when none has."""
    wanted = set(found)
    for pid in names(system, "/proc") if found else ():
        if not pid.isdigit():
            continue
        try:
            if wanted.intersection(system.targets(f"/proc/{pid}/fd").values()):
                return system.read(f"/proc/{pid}/comm").decode("utf-8", "replace").strip() or pid
        except PrivetError:  # ended meanwhile, or hidden from us
            continue
    return ""
