"""Where memory goes that the kernel swaps out: kept from the card (none, zram, or encrypted), or onto it in the clear.

No params. Live is /proc/swaps. Kept is what the next start switches on: swap lines of /etc/fstab, `.swap` units, and
the services of dphys-swapfile and of whatever else a unit of that name starts. A file counts as encrypted when the disk
it lies on is; a zram with a disk behind it counts as that disk.

"private" is held by a condition that is never true, in a drop-in of our own for each unit; what is in use is given back
by systemd, or by swapoff where there is no systemd. What lay on the card before is not overwritten.

Prepared: `units` (that would put memory on the card), `used` (what does now, for swapoff), `systemd`.
"""

from agent.core.assess import Reading, unread
from agent.core.errors import Missing, PrivetError
from agent.core.plan import Remove, Run, Write
from agent.core.record import Params, Value
from agent.system.door import System
from agent.system.ini import assignments
from agent.system.seen import names, text, there

PARAMS: tuple[str, ...] = ()
PRIVATE, CARD = "private", "card"
SWAPS, FSTAB = "/proc/swaps", "/etc/fstab"
PLACES = (
    "/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator", "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)  # fmt: skip
SERVICES = {"dphys-swapfile.service": "/usr/sbin/dphys-swapfile"}
OWN = "zz-privet.conf"
BLOCK = (
    b"# Written by Privet. Remove this file and run `systemctl daemon-reload` to give the unit back to the system.\n"
    b"[Unit]\nConditionPathExists=!/\n"
)

Step = Write | Remove | Run


def probe(system: System, params: Params) -> Reading:
    """Say where memory may go, now and after the next start."""
    try:
        kept = CARD if any(not blocked(system, unit) for unit in units(system)) else PRIVATE
    except PrivetError as error:
        return unread(str(error))
    try:
        live = CARD if used(system) else PRIVATE
    except Missing:
        return unread("this kernel does not say where it swaps", kept=kept)
    except PrivetError as error:
        return unread(str(error), kept=kept)
    return Reading(live=live, kept=kept, cause="", absent=False)


def prepare(system: System, params: Params) -> Params:
    """Add the units and what is in use."""
    alive = "yes" if there(system, "/run/systemd/system") else "no"
    return {**params, "units": tuple(units(system)), "used": tuple(used(system)), "systemd": alive}


def steps(params: Params, option: Value) -> tuple[Step, ...]:
    """Block each unit and give back what is in use; or free them again."""
    names, in_use = listed(params, "units"), listed(params, "used")
    alive = params.get("systemd") == "yes"
    reload = (Run(argv=("systemctl", "daemon-reload"), stdin=b""),) if alive else ()
    if option != PRIVATE:
        freed = tuple(Remove(path=own(unit)) for unit in names)
        started = tuple(Run(argv=("systemctl", "start", unit), stdin=b"") for unit in names if alive)
        return (*freed, *reload, *started)
    blocks = tuple(Write(path=own(unit), content=BLOCK, mode=0o644, uid=0, gid=0) for unit in names)
    if alive:
        # A pattern matches loaded units only: stopping a service may have given its swap back already.
        ends = dict.fromkeys((*(unit for unit in names if unit in SERVICES), *(unit_of(path) for path in in_use)))
        patterns = tuple(f"{unit[:-1]}[{unit[-1]}]" for unit in ends)
        return (*blocks, *reload, *((Run(argv=("systemctl", "stop", *patterns), stdin=b""),) if ends else ()))
    return (*blocks, *(Run(argv=("swapoff", "--", path), stdin=b"") for path in in_use))


def watches(params: Params) -> tuple[str, ...]:
    """Name where it is set up, and where systemd notes that a unit has started."""
    return ("/etc", *PLACES[:3], "/run/systemd/units")


def listed(params: Params, name: str) -> tuple[str, ...]:
    """Return a parameter as words, none when it is not given."""
    value = params.get(name, ())
    return value if isinstance(value, tuple) else ()


def own(unit: str) -> str:
    """Return the path of our drop-in."""
    return f"{PLACES[0]}/{unit}.d/{OWN}"


def used(system: System) -> list[str]:
    """Return what is in use that lies on the card in the clear."""
    rows = system.read(SWAPS).decode("utf-8", "replace").splitlines()[1:]
    paths = [row.split()[0].encode().decode("unicode_escape") for row in rows if row.split()]
    return [path for path in paths if in_the_clear(system, path)]


def units(system: System) -> list[str]:
    """Return the units that put memory on the card in the clear, whether or not we block them."""
    found = []
    for row in (line.split() for line in text(system, FSTAB).splitlines()):
        if len(row) > 3 and not row[0].startswith("#") and row[2] == "swap" and "noauto" not in row[3].split(","):
            device = named(system, row[0])
            found += [unit_of(device)] if in_the_clear(system, device) else []
    for place in PLACES:
        for name in names(system, place):
            if name.endswith(".swap") and in_the_clear(system, what(text(system, f"{place}/{name}"))):
                found.append(name)
            elif name.endswith(".wants"):
                found += [one for one in names(system, f"{place}/{name}") if there(system, SERVICES.get(one, "/-"))]
    return list(dict.fromkeys(found))


def what(content: str) -> str:
    """Return what a .swap unit switches on."""
    lines = [value for key, value in assignments(content, "Swap") if key == "What"]
    return lines[-1] if lines else ""


def blocked(system: System, unit: str) -> bool:
    """Say whether our condition is in force: no later drop-in forgets it, no mask is needed."""
    every = {name for place in PLACES for name in names(system, f"{place}/{unit}.d")}
    holds = False
    for name in sorted(name for name in every if name.endswith(".conf")):
        path = next(f"{p}/{unit}.d/{name}" for p in PLACES if name in names(system, f"{p}/{unit}.d"))
        for line in text(system, path).splitlines():
            key, _, value = (part.strip() for part in line.partition("="))
            if key.startswith("Condition"):
                holds = (key, value) == ("ConditionPathExists", "!/") or (holds and bool(value))
    return holds or any(masked(system, f"{place}/{unit}") for place in PLACES[:2])


def masked(system: System, path: str) -> bool:
    """Say whether a unit's file is a mask."""
    try:
        return system.target(path) == "/dev/null"
    except PrivetError:
        return False


def named(system: System, device: str) -> str:
    """Return the path of a device by its label or number in /etc/fstab, as systemd names it."""
    for kind in ("UUID", "LABEL", "PARTUUID", "PARTLABEL"):
        if device.startswith(f"{kind}="):
            return f"/dev/disk/by-{kind.lower()}/{device[len(kind) + 1 :].strip(chr(34))}"
    return device


def unit_of(path: str) -> str:
    """Return the name of the unit for a path (systemd-escape --path --suffix=swap)."""
    plain = path.strip("/").encode()
    made = ""
    for place, byte in enumerate(plain):
        letter = chr(byte)
        if letter == "/":
            made += "-"
        elif letter.isascii() and (letter.isalnum() or letter in ":_" or (letter == "." and place)):
            made += letter
        else:
            made += f"\\x{byte:02x}"
    return made + ".swap"


def in_the_clear(system: System, path: str) -> bool:
    """Say whether what is swapped to a path can be read from the card."""
    if not path:
        return False
    name = path.rpartition("/")[2]
    if path.startswith("/dev/zram"):
        backing = text(system, f"/sys/block/{name}/backing_dev").strip()
        return backing not in {"", "none"} and in_the_clear(system, backing)
    if path.startswith("/dev/"):
        return not encrypted(system, path)
    return not encrypted(system, lies_on(system, path))


def encrypted(system: System, device: str) -> bool:
    """Say whether a device is one that dm-crypt keeps."""
    name = device.rpartition("/")[2]
    if device.startswith("/dev/mapper/"):
        number = [one for one in names(system, "/sys/block") if one.startswith("dm-")]
        mine = [one for one in number if text(system, f"/sys/block/{one}/dm/name").strip() == name]
        planned = any(row.split()[:1] == [name] for row in text(system, "/etc/crypttab").splitlines())
        return any(crypt(system, one) for one in mine) or (planned and not mine)
    return crypt(system, name)


def crypt(system: System, name: str) -> bool:
    """Say whether a block device is a mapping of dm-crypt."""
    return text(system, f"/sys/block/{name}/dm/uuid").startswith("CRYPT-")


def lies_on(system: System, path: str) -> str:
    """Return the device of the file system that a file is on, by the longest mount point above it."""
    best, device = "", ""
    for row in (line.split() for line in text(system, "/proc/self/mounts").splitlines()):
        if len(row) > 1 and (path + "/").startswith(row[1].rstrip("/") + "/") and len(row[1]) >= len(best):
            best, device = row[1], row[0]
    return device
