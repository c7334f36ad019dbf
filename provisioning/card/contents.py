"""What is put into the root file system of an image: the package as installed, and whose devices it is for."""

import hashlib
from pathlib import PurePosixPath

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.core.errors import Refused
from agent.core.record import Record
from provisioning.card.deb import Deb
from provisioning.card.disk import Disk
from provisioning.card.installed import (
    ACCOUNTS,
    HOME,
    STATUS,
    account,
    enabled,
    file,
    fitting,
    folder_at,
    registered,
    unpacked,
)  # fmt: skip
from provisioning.card.rootfs import FILE, FOLDER, Entry, Rootfs

FLEET, POLICY = "/etc/privet/fleet.cbor", "/etc/privet/policy.cbor"
SPARE = 8 << 20  # bytes that stay free: a first start writes before it grows the file system
FILES = 100  # inodes that stay free


class Issue(Record):
    """Whose devices an image is for: the fleet, the class, the signed policy, who signs policies, the root (PEM)."""

    __slots__ = ("anchor", "fleet", "keys", "model", "policy", "sequence")
    fleet: str
    model: str
    sequence: int
    policy: bytes
    keys: tuple[bytes, ...]
    anchor: bytes


def anchor_digest(anchor: bytes) -> bytes:
    """Return the sha256 of a root certificate (DER), given as PEM."""
    return hashlib.sha256(x509.load_pem_x509_certificate(anchor).public_bytes(Encoding.DER)).digest()


def contents(root: Rootfs, deb: Deb, issue: Issue) -> tuple[Entry, ...]:
    """Return everything to be written, folders before what is in them; Refused when the package fits not here."""
    moment = root.moment
    found = root.reads((STATUS, *ACCOUNTS))
    fitting(deb, found.get(STATUS, b"").decode("utf-8", "replace"))
    stats = root.stats(("/lib", *ACCOUNTS))
    courier = account(found, moment)
    changed = []
    for path, content in courier.files.items():
        was = stats[path]
        changed.append(file(path, content, moment, was.mode, was.uid, was.gid))
    facts = {"fleet": issue.fleet, "class": issue.model, "policy_keys": list(issue.keys), "floor": moment}
    own = (
        folder_at("/etc/privet", moment, 0o700),
        file(FLEET, cbor2.dumps(facts, canonical=True), moment, 0o600),
        file(POLICY, issue.policy, moment, 0o600),
        folder_at(HOME, moment, 0o700, courier.uid, courier.gid),
        file(f"{HOME}/ca.pem", issue.anchor, moment, 0o600, courier.uid, courier.gid),
    )
    merged = stats["/lib"].kind != FOLDER if "/lib" in stats else False
    package = [one for one in unpacked(deb, merged) if one.path != "/etc/privet"]
    return inside((*own, *package, *registered(deb, found[STATUS], moment), *enabled(deb, moment), *changed), moment)


def inside(entries: tuple[Entry, ...], moment: int) -> tuple[Entry, ...]:
    """Return entries with the folders that they are in, in the order in which they can be made."""
    listed = {one.path: one for one in entries}
    for path in list(listed):
        for parent in PurePosixPath(path).parents[:-1]:
            listed.setdefault(str(parent), folder_at(str(parent), moment))
    return tuple(listed[path] for path in sorted(listed))


def fits(disk: Disk, entries: tuple[Entry, ...]) -> int:
    """Return how many bytes the entries take; Refused when the root file system has no room for them."""
    block = disk.ext.block
    needed = sum(-(-max(len(one.content), 1) // block) * block for one in entries if one.kind in {FILE, FOLDER})
    free = disk.ext.free * block
    if needed + SPARE > free or len(entries) + FILES > disk.ext.inodes:
        raise Refused(
            f"the root file system of the image has {free >> 20} MiB free, and Privet needs {(needed + SPARE) >> 20}; "
            "take a smaller system, or an image with more room"
        )
    return needed
