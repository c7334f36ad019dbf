"""What an image carries that every device made from it would share, or that somebody forgot in it; free space too."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from agent.core import slot
from agent.core.errors import BadInput
from agent.core.shown import harmless
from provisioning.card.bootfs import SLOT, Bootfs
from provisioning.card.disk import Disk
from provisioning.card.freed import Freed, Hit, hits
from provisioning.card.hashes import known
from provisioning.card.layout import known as facts
from provisioning.card.rootfs import PLAIN, Rootfs

GRAVE, NOTE = "grave", "note"
HOST_KEY = re.compile(r"ssh_host_\w+_key")
PSK = re.compile(rb"^\s*(?:wpa-)?psk\s*=", re.MULTILINE)
NETWORKS = ("/etc/NetworkManager/system-connections", "/etc/wpa_supplicant", "/etc/netplan")
SEEDS = ("/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed")
PRIVATE = "/etc/ssl/private"
HISTORIES = (".bash_history", ".python_history", ".viminfo", ".netrc", ".git-credentials")
MACHINE = re.compile(rb"[0-9a-f]{32}\s*")
NO_SECRET = {"", "*", "!", "!!", "!*", "x"}


class Finding(NamedTuple):
    """One thing: how bad it is, its kind, where it lies, what it means."""

    weight: str
    kind: str
    where: str
    text: str


def scan(disk: Disk, tell: Callable[[int, int], None] = lambda done, of: None) -> tuple[Finding, ...]:
    """Look through both file systems and what is free in them; the grave findings come first."""
    root, boot = Rootfs(disk, 0), Bootfs(disk, 0)
    found = [
        *accounts(root),
        *keys(root),
        *identities(root),
        *networks(root),
        *homes(root),
        *left(boot),
        *freed(disk, tell),
    ]
    found = [one._replace(where=harmless(one.where)) for one in found]  # whoever made the image gave the names in it
    return tuple(sorted(found, key=lambda one: (one.weight != GRAVE, one.kind, one.where)))


def accounts(root: Rootfs) -> Iterator[Finding]:
    """Find passwords: known ones, and any, for every device would have the same."""
    for line in root.reads(("/etc/shadow",)).get("/etc/shadow", b"").decode("utf-8", "replace").splitlines():
        user, _, rest = line.partition(":")
        hashed = rest.partition(":")[0]
        if hashed in NO_SECRET - {""} or not line:
            continue
        where = f"/etc/shadow, {user}"
        if hashed == "":
            yield Finding(GRAVE, "password", where, "needs no password at all")
        elif hashed.startswith("!"):
            yield Finding(NOTE, "password", where, "has a locked password, which is the same on every device")
        elif known(user, hashed):
            yield Finding(GRAVE, "password", where, "has a factory password that everybody knows")
        else:
            yield Finding(GRAVE, "password", where, "has a password, which is the same on every device")


def keys(root: Rootfs) -> Iterator[Finding]:
    """Find private keys that every device would share."""
    for name in root.names("/etc/ssh"):
        if HOST_KEY.fullmatch(name):
            yield Finding(GRAVE, "host key", f"/etc/ssh/{name}", "is the same on every device: one can pose as all")
    for name in root.names(PRIVATE):
        if name.endswith((".key", ".pem")):
            yield Finding(GRAVE, "private key", f"{PRIVATE}/{name}", "is the same on every device")


def identities(root: Rootfs) -> Iterator[Finding]:
    """Find what should be drawn anew on each device."""
    machine = root.reads(("/etc/machine-id",)).get("/etc/machine-id", b"")
    if MACHINE.fullmatch(machine):
        yield Finding(GRAVE, "machine id", "/etc/machine-id", "is the same on every device; it should be empty")
    for path in root.stats(SEEDS):
        yield Finding(NOTE, "random seed", path, "is the same on every device; it should not be there")


def networks(root: Rootfs) -> Iterator[Finding]:
    """Find keys of Wi-Fi networks."""
    for folder in NETWORKS:
        paths = [f"{folder}/{name}" for name in root.names(folder)]
        for path, content in root.reads(plain(paths)).items():
            if PSK.search(content) or (b"password:" in content and folder.endswith("netplan")):
                yield Finding(GRAVE, "Wi-Fi", path, "holds the key of a Wi-Fi network")


def homes(root: Rootfs) -> Iterator[Finding]:
    """Find what people left: keys that open every device, and what they typed."""
    every = ["/root", *(f"/home/{name}" for name in root.names("/home"))]
    for home in sorted(set(every) - set(plain(every))):
        yield Finding(NOTE, "name", repr(home), "has a name that cannot be looked into from here; look at it by hand")
    for home in plain(every):
        for path in root.stats(plain([f"{home}/.ssh/authorized_keys"])):
            yield Finding(NOTE, "way in", path, "lets the holder of its keys into every device")
        for name in root.names(f"{home}/.ssh"):
            if name.startswith("id_") and not name.endswith(".pub"):
                yield Finding(GRAVE, "private key", f"{home}/.ssh/{name}", "is somebody's own key")
        for path in root.stats(plain([f"{home}/{name}" for name in HISTORIES])):
            yield Finding(NOTE, "history", path, "tells what somebody typed or saved here")


def left(boot: Bootfs) -> Iterator[Finding]:
    """Find what a first start was to take up, and a seed in the slot."""
    names = {name.lower(): name for name in boot.names()}
    for row in facts()[1]:
        for name in row.names:
            if name in names and boot.read(names[name]).strip() and row.secret:
                yield Finding(GRAVE, "left over", f"boot partition, {names[name]}", row.text)
            elif name in names and not row.secret:
                yield Finding(NOTE, "left over", f"boot partition, {names[name]}", row.text)
    if SLOT in names:
        yield from in_slot(boot.read(SLOT))


def in_slot(content: bytes) -> Iterator[Finding]:
    """Find a token in the slot; an image has none."""
    where = f"boot partition, {SLOT}"
    try:
        kinds = {slot.decode_half(half).kind for half in slot.halves(content)}
    except BadInput as error:
        yield Finding(NOTE, "slot", where, f"is damaged: {error}")
        return
    if slot.SEED in kinds:
        yield Finding(GRAVE, "token", where, "holds the seed of one device; every copy would claim to be it")
    elif slot.RECEIPT in kinds:
        yield Finding(NOTE, "slot", where, "holds the receipt of a device: this comes from a card that was used")


def freed(disk: Disk, tell: Callable[[int, int], None]) -> Iterator[Finding]:
    """Find secrets in what belongs to no file any more."""
    found: list[Hit] = list(hits(disk, tell))
    free = Freed(disk)
    for one, is_free in zip(found, free.of([hit.at for hit in found]), strict=True):
        if is_free:
            yield Finding(GRAVE, "deleted", f"free space, byte {one.at}", f"still holds {one.text} of a deleted file")


def plain(paths: list[str]) -> list[str]:
    """Leave out paths that cannot be asked for: what is called so was not put there by a maker."""
    return [path for path in paths if PLAIN.fullmatch(path)]
