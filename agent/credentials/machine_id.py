"""Numbers that tell machines apart, and that all clones of an image share: machine-id, DHCP names, random seed.

A machine-id that systemd made in this very start is the device's own and stays; an older one came with the image, or
is of a start before first boot was finished, and is made anew: nothing outside knows it yet. Once the device was
provisioned only a number that was retired, and is back, is touched. PARAMS are none.

What starts after this takes the new number: networkd, NetworkManager, dhclient, D-Bus, and every program that first
asks for it. What had started before (systemd itself, journald, udev) goes on with the old one until the device starts
again. Leases, DUIDs and keys of the DHCP programs are removed; each makes its own at its next start.
"""

import hashlib
from typing import TYPE_CHECKING

from agent.core.credential import NEW, OLD, Found, Memory
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.secret import Secret
from agent.system.door import System
from agent.system.seen import there

if TYPE_CHECKING:
    from agent.core.record import Params

KIND = "machine_id"
PARAMS: tuple[str, ...] = ()
ID, COPY, SEED = "/etc/machine-id", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed"
FIRST = "/run/systemd/first-boot"  # systemd lays it down in the start in which it makes the machine-id
JOURNALS = "/var/log/journal"
SEED_BYTES = 512
FILES = (
    ID, COPY, SEED, "/etc/dhcpcd.duid", "/etc/dhcpcd.secret", "/var/lib/dhcpcd/duid", "/var/lib/dhcpcd/secret",
    "/var/lib/NetworkManager/secret_key",
)  # fmt: skip
LEASES = ("/var/lib/dhcp", "/var/lib/dhcpcd", "/var/lib/NetworkManager", "/var/lib/systemd/network")

SHIPPED = "it came with the image, and every copy of that image has the same"
BACK = "the image's number is back"


def content(system: System, path: str) -> bytes:
    """Return a file's bytes, none when there is no such file."""
    try:
        return system.read(path)
    except Missing:
        return b""


def digest(system: System, path: str) -> bytes:
    """Return a digest of a file, none when it is missing or empty; a machine-id not yet made counts as empty."""
    found = content(system, path)
    if not found or (path == ID and found.strip() in (b"", b"uninitialized")):
        return b""
    return hashlib.sha256(path.encode() + b"\0" + found).digest()[:16]


def present(system: System) -> tuple[str, ...]:
    """Return the paths of all such numbers on the device; a link leads to one of the others."""
    paths = list(FILES)
    for folder in LEASES:
        try:
            names = system.entries(folder)
        except Missing:
            continue
        paths += [f"{folder}/{name}" for name in names if ".lease" in name or name.endswith((".leases", "-lease"))]
    return tuple(path for path in paths if plain(system, path) and digest(system, path))


def plain(system: System, path: str) -> bool:
    """Say whether a path is a file of its own."""
    try:
        return system.stat(path).kind == "file"
    except Missing:
        return False


def made_now(system: System, path: str) -> bool:
    """Say whether a number was made in this start: systemd says so of its own, else the file's time lies within it.

    A device without a clock may think that it is long before its image was made: a time to come is none of this start.
    """
    if (
        path == ID
        and plain(system, FIRST)
        and (not plain(system, COPY) or content(system, COPY) != content(system, ID))
    ):
        return True
    clock = system.clock()
    changed = system.stat(path).changed // 1_000_000_000
    return clock.wall - clock.uptime <= changed <= clock.wall


def find(system: System, params: "Params", memory: Memory) -> tuple[Found, ...]:
    """Return the numbers that came with the image."""
    found = []
    for path in present(system):
        mark = digest(system, path)
        if memory.first and mark not in memory.retired and made_now(system, path):
            memory.cleared.add(mark)
        reason = BACK if mark in memory.retired else SHIPPED if memory.first and mark not in memory.cleared else ""
        if reason:
            old = Secret(content(system, path).strip()) if path == ID else None
            found.append(Found(kind=KIND, label=path, reason=reason, owner=False, old=old, trace=mark))
    return tuple(found)


def standing(system: System, params: "Params", found: Found, new: Secret | None) -> str:
    """Say whether the image's number is there; none, or another, is the device's own."""
    return OLD if digest(system, found.label) == found.trace else NEW


def replace(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Make the number anew; what a program makes by itself is removed."""
    path = found.label
    if path == ID:
        system.write(path, fresh(system.entropy(16)), 0o444)
    elif path == COPY:
        system.write(path, content(system, ID), 0o444)
    elif path == SEED:
        system.write(path, system.entropy(SEED_BYTES), 0o600)
    else:
        system.remove(path)


def fresh(entropy: bytes) -> bytes:
    """Make a machine-id: 16 random bytes in hex, marked as a random UUID, as systemd does."""
    made = bytearray(entropy)
    made[6] = made[6] & 0x0F | 0x40
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made).hex().encode() + b"\n"


def prove(system: System, params: "Params", found: Found, new: Secret | None) -> None:
    """Make durable what stands; the machine-id must be one, not the old one, and the same wherever it is kept."""
    path = found.label
    if digest(system, path) == found.trace:
        raise Failed(f"{path} still holds the image's number; start the device again")
    if digest(system, path):
        system.sync(path)
    system.sync(nearest(system, path.rpartition("/")[0]))
    if path not in (ID, COPY):
        return
    number = content(system, ID).strip()
    if len(number) != 32 or number.strip(b"0123456789abcdef") or not number.strip(b"0"):
        raise Failed(f"{ID} holds no machine-id; start the device again")
    if found.old is not None and number == found.old.reveal():
        raise Failed(f"{ID} still holds the image's number; start the device again")


def nearest(system: System, folder: str) -> str:
    """Return the nearest directory that is there."""
    while folder and not there(system, folder):
        folder = folder.rpartition("/")[0]
    return folder or "/"


def clean(system: System, params: "Params", found: Found) -> None:
    """Remove what the image's own starts had logged under its number; the log of this start stays."""
    if found.old is None:
        return
    folder = f"{JOURNALS}/{found.old.reveal().decode('ascii', 'replace')}"
    clock = system.clock()
    try:
        names = system.entries(folder)
    except PrivetError:
        return
    for name in names:
        changed = system.stat(f"{folder}/{name}").changed // 1_000_000_000
        if changed < clock.wall - clock.uptime and plain(system, f"{folder}/{name}"):
            system.remove(f"{folder}/{name}")


def remember(system: System, params: "Params", found: Found, memory: Memory) -> None:
    """Note that what stands now is the device's own, and that what stood there was the image's."""
    mark = digest(system, found.label)
    if mark and mark != found.trace:
        memory.cleared.add(mark)
    memory.retired.add(found.trace)
