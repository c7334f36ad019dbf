"""Device nodes: who may open them (a rule for udev), and who has them open.

Params: `name` (of our rule's file), `subsystem`, `nodes` (patterns), `group` (what Debian's rules give them to).
Values: closed (nobody but root), group (that group, and whoever sits at the device), everyone.

A program that has one open although nobody may is found as if the group could: it sees what the device sees. Root can
open anything; what it has open is found the same way. Absent where no such device is and no rule of ours either: the
rule is then of no use to anybody.

Prepared: `live` (whether udev runs here).
"""

from collections.abc import Callable
from fnmatch import fnmatchcase

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system import ancestry, rules
from agent.system.door import System
from agent.system.seen import names, text, there

PARAMS = ("name", "subsystem", "nodes", "group")
LADDER = ("closed", "group", "everyone")
SETTLED = "/run/udev/control"
NOTE = "# Written by Privet. Remove this file to give these devices back to the system.\n"
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
    return (*rules.FOLDERS, *dict.fromkeys(node.rpartition("/")[0] for node in words(params, "nodes")))


def prepare(system: System, params: Params) -> Params:
    """Add whether udev runs here."""
    return {**params, "live": "yes" if there(system, SETTLED) else "no"}


def path_of(params: Params) -> str:
    """Return the file of our rule: after what gives devices to who sits here, before what acts by it."""
    return f"{rules.FOLDERS[0]}/72-privet-{one(params, 'name')}.rules"


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
    """Say what the rules come to: ours has the last word where it stands, unless one before it had (:=).

    After ours only what is no matter of rights can loosen them: a program that a rule starts, and the tag by which the
    device is given to whoever sits at it.
    """
    own = path_of(params).rpartition("/")[2]
    ours, before, after, loose = "", "closed", "closed", "group"
    last: set[str] = set()
    here = [ancestry.line(system, one(params, "subsystem"), path.rpartition("/")[2]) for path in nodes(system, params)]
    for name, path in rules.files(system):
        said = text(system, path)
        if name == own and said.encode() in (rule(params, "closed"), rule(params, "everyone")):
            ours = "closed" if said.encode() == rule(params, "closed") else "everyone"
            continue
        for row in rules.followed(rules.rules(said), lambda row: surely(params, row)):
            if not about(params, row, lambda row: any(hangs(system, places, row) for places in here)):
                continue
            level, final = opened(row)
            loose = widest(loose, level)
            before = widest(before, level) if final and not ours else before
            last |= {key for key, value in settled(row) if not ours and value not in {"root", "0"}}
            after = widest(after, level) if started(row) else after
            after = widest(after, "group") if ours and tagged(row) else after
    if ours != "closed":
        return ours or loose
    if last >= {"OWNER", "MODE"}:  # another owner's to open, and none of the two is ours to say
        before = widest(before, "group")
    return widest(before, after)


def settled(said: rules.Rule) -> list[tuple[str, str]]:
    """Return what a rule says for good of the owner, and of rights that the owner has."""
    final = [(key, value) for key, _, sign, value in said if sign == ":=" and key in {"OWNER", "MODE"}]
    return [(key, value) for key, value in final if key == "OWNER" or not octal(value) or int(value, 8) & 0o600]


def octal(value: str) -> bool:
    """Say whether a value is a number of rights, not one that udev puts together first."""
    return bool(value) and not value.strip("01234567")


def widest(one_value: str, other: str) -> str:
    """Return the looser of two values."""
    return max(one_value, other, key=LADDER.index)


def fits(params: Params, key: str, inner: str, value: str) -> bool | None:
    """Say whether a condition is met by these devices; None when it is about something else of them."""
    kernels = [node.rpartition("/")[2] for node in words(params, "nodes")]
    if key == "SUBSYSTEM":
        return any(fnmatchcase(one(params, "subsystem"), part) for part in value.split("|"))
    if key == "KERNEL" or (key, inner) == ("ENV", "DEVNAME"):
        parts = [part.rpartition("/")[2] for part in value.split("|")]
        return any(fnmatchcase(part.replace("*", "0"), kernel) or fnmatchcase(kernel.replace("*", "0"), part)
                   for part in parts for kernel in kernels)  # fmt: skip
    return None


def about(params: Params, said: rules.Rule, hung: Callable[[rules.Rule], bool] = lambda _: False) -> bool:
    """Say whether a rule is about these devices: it names them or their subsystem, or asks for nothing of a device.

    Of one that asks for something else `hung` says whether a device that is here has it.
    """
    asked = [word for word in said if word[2] == "=="]
    answers = [fits(params, key, inner, value) for key, inner, _, value in asked]
    others = [key for (key, *_), answer in zip(asked, answers, strict=True) if answer is None and key != "ACTION"]
    refused = any(refuses(params, key, inner, value) for key, inner, sign, value in said if sign == "!=")
    return False not in answers and not refused and (True in answers or not others or hung(said))


def surely(params: Params, said: rules.Rule) -> bool:
    """Say whether a rule holds for all these devices, whatever they are: of conditions only the kind can tell."""
    return all(
        (key == "GOTO" and not inner)
        or (
            (key, inner) == ("SUBSYSTEM", "") and fits(params, key, inner, value) is {"==": True, "!=": False}.get(sign)
        )
        for key, inner, sign, value in said
    )


def hangs(system: System, places: tuple[str, ...], said: rules.Rule) -> bool:
    """Say whether a rule asks for what a device has, or what it hangs on: a maker, a driver, a port."""
    asked = [(key, inner, value) for key, inner, sign, value in said if sign == "==" and key != "ACTION"]
    return all(ancestry.met(system, places, *question) for question in asked)


def refuses(params: Params, key: str, inner: str, value: str) -> bool:
    """Say whether a rule for all others than these leaves none of ours: one name of several is not all."""
    if key != "KERNEL" and (key, inner) != ("ENV", "DEVNAME"):
        return bool(fits(params, key, inner, value))
    parts = [part.rpartition("/")[2] for part in value.split("|")]
    kernels = [node.rpartition("/")[2] for node in words(params, "nodes")]
    return all(any(fnmatchcase(kernel, part) for part in parts) for kernel in kernels)


def opened(said: rules.Rule) -> tuple[str, bool]:
    """Say to whom a rule opens a device, and whether no later rule can change that."""
    level, final = "closed", False
    for key, _, sign, value in said:
        if key == "MODE" and sign in {"=", ":="} and (octal(value) or sign == ":=" or set(value) & set("$%\\")):
            # What is put together may be anything; and what udev cannot read is the last word of who came before.
            bits = int(value, 8) if octal(value) else 0o666
            level = "everyone" if bits & 0o006 else "group" if bits & 0o060 else "closed"
            final = sign == ":="
    return (max(level, "everyone", key=LADDER.index), final) if started(said) else (level, final)


def started(said: rules.Rule) -> bool:
    """Say whether a rule starts a program that changes rights."""
    return any(key == "RUN" and any(name in value for name in ("chmod", "setfacl")) for key, _, _, value in said)


def tagged(said: rules.Rule) -> bool:
    """Say whether a rule gives a device to whoever sits here."""
    return any(key == "TAG" and sign in {"=", "+=", ":="} and value == "uaccess" for key, _, sign, value in said)


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
