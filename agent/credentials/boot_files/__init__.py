"""Leftovers of a first setup on the FAT boot partition: password hashes, Wi-Fi keys, tokens, for any card reader.

Overwritten where they lie, removed, and then sought on the raw disk. Which file goes when, and why: README.md here.
PARAMS are none. Optional: `directory`, the mount point (/boot/firmware, else /boot).
Nothing here is a secret for the owner, and nobody is locked out: a file that is still to be taken up stays until then,
so `LATE`: what was awaited at first boot is done at a later start.
"""

import hashlib
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, OTHER, Found, Memory
from agent.core.errors import BadInput, Failed, Missing, PrivetError
from agent.core.secret import Secret
from agent.credentials.boot_files.leftovers import (
    BLANK,
    CLOUD,
    LIMIT,
    NAMES,
    Leftover,
    blanked,
    commands,
    leftovers,
    needles,
    without_run,
)
from agent.credentials.boot_files.raw import behind, file_with, held, unwashed, wash
from agent.system.door import System

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "boot_files"
PARAMS: tuple[str, ...] = ()
LATE = True
PLACES = ("/boot/firmware", "/boot")
COPIES = (
    "user-data.txt", "user-data.txt.i", "vendor-data.txt", "vendor-data.txt.i", "cloud-config.txt",
    "vendor-cloud-config.txt", "obj.pkl", "network-config.json", "scripts/part-001",
)  # fmt: skip
ELSEWHERE = ("/run/cloud-init/instance-data-sensitive.json", "/run/cloud-init/combined-cloud-config.json",
             "/var/log/cloud-init-output.log", "/var/log/cloud-init.log", "/var/log/firstboot.log")  # fmt: skip
MARK = 8  # bytes of a file's digest
BACK = "a file of the factory's setup is back"


def place_of(system: System, params: "Params") -> str:
    """Return the mount point of the boot partition, "" when this device has none that is FAT."""
    given = params.get("directory", "")
    if not isinstance(given, str):
        raise BadInput("boot_files: directory is a path; correct the profile")
    for place in (given,) if given else PLACES:
        if behind(system, place):
            return place
    return ""


def mark(content: bytes) -> bytes:
    """Return the short digest of a file's content."""
    return hashlib.sha256(content).digest()[:MARK]


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the boot partition as one credential, when a leftover is on it."""
    place = place_of(system, params)
    found = leftovers(system, place) if place else ()
    if not found:
        return ()
    names = ", ".join(one.path.rpartition("/")[2] for one in found)
    returned = any(mark(one.content) in memory.retired for one in found)
    reason = f"{BACK}: {names}" if returned else f"the setup of the card left {names} on it"
    sought = sorted({needle for one in found for needle in needles(one.content)})
    old = Secret(b"\n".join(sought)) if sought else None
    trace = b"".join(sorted({mark(one.content) for one in found}))
    return (Found(kind=KIND, label=place, reason=reason, owner=False, old=old, trace=trace),)


def awaits(system: System, params: "Params") -> bool:
    """Say whether a file of a setup lies there that a later start has to look at."""
    place = place_of(system, params)
    if not place:
        return False
    names = set(system.entries(place)) & set(NAMES) - {"meta-data", "ssh", "ssh.txt"}
    if names == {"user-data"}:
        content = system.read(f"{place}/user-data", LIMIT)
        return content != blanked(len(content))
    return bool(names)


def ours(one: Leftover, found: Found) -> bool:
    """Say whether a leftover is one that was found, or one that a cut left half overwritten."""
    marks = [found.trace[place : place + MARK] for place in range(0, len(found.trace), MARK)]
    return mark(one.content) in marks or one.content[:1] in (b"\0", b"") or one.content[:16] == BLANK[:16]


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whether the leftovers are still there, gone, or others than were found."""
    present = leftovers(system, found.label)
    if not present:
        return NEW
    return OLD if all(ours(one, found) for one in present) else OTHER


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Overwrite each leftover in place and remove it; what would run one goes first."""
    present = leftovers(system, found.label)
    line = commands(system, found.label)
    if any(one.path.endswith("/firstrun.sh") for one in present) and without_run(line) != line:
        system.overwrite(f"{found.label}/cmdline.txt", without_run(line))
    for one in present:
        if one.blank:
            system.overwrite(one.path, blanked(len(one.content)))
        else:
            system.shred(one.path)


def sought(found: Found) -> tuple[bytes, ...]:
    """Return what must be nowhere on the disk."""
    return tuple(found.old.reveal().split(b"\n")) if found.old is not None else ()


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Read the raw partition for what was secret; a copy that an earlier program left is written over with zeros."""
    system.sync(found.label)
    unwashed(system, found.label)
    later = [f"{found.label}/{name}" for name in NAMES if name in system.entries(found.label)]
    values = sought(found)
    values = tuple(sorted(set(values) - {one for path in later for one in system.search(path, values)}))
    device = behind(system, found.label)
    if not device:
        raise Failed(f"the boot partition {found.label} is no longer mounted; start the device again")
    left = held(system, device, values)
    if left:
        wash(system, found.label)
        left = held(system, device, values)
    if left:
        where = file_with(system, found.label, left)
        raise Failed(f"a secret of the card's setup is still in {where}; remove it, then start the device again")


def clean(system: System, params: "Params", found: Found) -> None:
    """Shred the copies that the programs kept on the main disk, where they hold one of the secrets."""
    values = sought(found)
    folder = f"{CLOUD}/instances"
    try:
        instances = system.entries(folder)
    except PrivetError:
        instances = ()
    copies = [f"{folder}/{name}/{copy}" for name in instances for copy in COPIES]
    for path in (*copies, *ELSEWHERE):
        try:
            if system.stat(path).kind == "file" and system.search(path, values):
                system.shred(path)
        except Missing:
            continue


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note which files were the setup's."""
    memory.retired |= {found.trace[place : place + MARK] for place in range(0, len(found.trace), MARK)}
