"""Build the image of a fleet: the maker's image with Privet, the fleet's policy and a blank slot in it.

No root, no mount, nothing of the image is executed. Everything is made beside its final name; the manifest gets its
name last, so that there is no image that looks whole and is not.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core.errors import Failed, Refused, Unreadable
from agent.core.record import Record
from provisioning.card.blockmap import bmap, mapped
from provisioning.card.bootfs import Bootfs
from provisioning.card.contents import Issue, anchor_digest, contents, fits
from provisioning.card.deb import Deb, read_deb
from provisioning.card.disk import Disk, look
from provisioning.card.installed import STATUS
from provisioning.card.layout import Layout, layout_of
from provisioning.card.manifest import BLOCK, SUFFIX, Manifest, sign_manifest
from provisioning.card.programs import ended, there
from provisioning.card.rootfs import Entry, Rootfs
from provisioning.card.sbom import bill
from provisioning.card.source import copy

BMAP, SBOM = ".bmap", ".sbom.json"
PROGRAMS = ("debugfs", "e2fsck", "fsck.vfat", "mcopy", "dpkg-deb")
STAGES = ("unpack", "look", "write", "check", "map")
Tell = Callable[[str, int, int], None]


class Request(Record):
    """What to build: from which image and package, for whom, with which lines in config.txt, at which time."""

    __slots__ = ("base", "issue", "lines", "moment", "output", "package")
    base: Path
    package: Path
    output: Path
    issue: Issue
    lines: tuple[str, ...]
    moment: int


class Plan(Record):
    """What would be written into an image, and what it was found to be. `bytes` is what that takes of its root."""

    __slots__ = ("bytes", "deb", "disk", "entries", "layout", "status")
    disk: Disk
    layout: Layout
    deb: Deb
    entries: tuple[Entry, ...]
    status: str
    bytes: int


def build(request: Request, key: Ed25519PrivateKey, tell: Tell = lambda stage, done, of: None) -> tuple[Plan, Manifest]:
    """Build the image and lay its manifest, its block map and its bill of materials beside it."""
    check_output(request.output)
    with drafted(request.output) as draft:
        plan = prepared(request, draft[""], tell)
        slot = written(plan, request, tell)
        made = described(plan, request, slot, draft, tell)
        draft[SUFFIX].write_bytes(sign_manifest(made, key))
        settled(request.output, draft)
    return plan, made


def planned(request: Request, tell: Tell = lambda stage, done, of: None) -> Plan:
    """Say what `build` would write; everything is looked at and nothing is left."""
    check_output(request.output)
    with drafted(request.output) as draft:
        return prepared(request, draft[""], tell)


def check_output(output: Path) -> None:
    """Refuse to write over an image."""
    for ending in ("", SUFFIX, BMAP, SBOM):
        if (path := beside(output, ending)).exists():
            raise Refused(f"{path} is there already; choose another name for the image, or remove it")


def beside(output: Path, ending: str) -> Path:
    """Return the name of what lies beside an image."""
    return output.with_name(output.name + ending)


@contextmanager
def drafted(output: Path) -> Iterator[dict[str, Path]]:
    """Give names for drafts in the folder of the output; whatever has one in the end is removed."""
    mark = secrets.token_hex(4)
    draft = {ending: output.with_name(f".{output.name}.{mark}{ending}") for ending in ("", SBOM, BMAP, SUFFIX)}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        yield draft
    except OSError as error:
        raise Unreadable(f"{output} cannot be made ({error.strerror}); look at the disk and its free space") from None
    finally:
        for path in draft.values():
            path.unlink(missing_ok=True)


def prepared(request: Request, work: Path, tell: Tell) -> Plan:
    """Unpack the base into the draft and judge it."""
    there(*PROGRAMS)
    deb = read_deb(request.package)
    copy(request.base, work, lambda done, of: tell("unpack", done, of))
    size = work.stat().st_size
    os.truncate(work, -(-size // BLOCK) * BLOCK)
    tell("look", 0, 1)
    disk = look(work)
    root, boot = Rootfs(disk, request.moment), Bootfs(disk, request.moment)
    sound(disk, boot, Refused)
    layout = layout_of(disk, root, boot)
    entries = contents(root, deb, request.issue)
    needed = fits(disk, entries)
    tell("look", 1, 1)
    status = root.read(STATUS).decode("utf-8", "replace")
    return Plan(disk=disk, layout=layout, deb=deb, entries=entries, status=status, bytes=needed)


def written(plan: Plan, request: Request, tell: Tell) -> int:
    """Write into the draft, read all of it back, and return where the slot is."""
    root, boot = Rootfs(plan.disk, request.moment), Bootfs(plan.disk, request.moment)
    tell("write", 0, 1)
    root.write(plan.entries)
    boot.add_lines(request.lines)
    slot = boot.lay_slot()
    tell("write", 1, 1)
    tell("check", 0, 1)
    sound(plan.disk, boot, Failed)
    tell("check", 1, 1)
    return slot


def described(plan: Plan, request: Request, slot: int, draft: dict[str, Path], tell: Tell) -> Manifest:
    """Write the block map and the bill, and return the manifest."""
    tell("map", 0, 1)
    name, issue = request.output.name, request.issue
    found = mapped(draft[""], slot)
    draft[BMAP].write_bytes(bmap(plan.disk.size, found.extents, slot))
    digest = hashlib.sha256(request.package.read_bytes()).hexdigest()
    listed = bill(name, plan.layout.title, plan.status, plan.deb, digest, request.moment)
    draft[SBOM].write_bytes(listed)
    tell("map", 1, 1)
    return Manifest(
        size=plan.disk.size, slot=slot, extents=found.extents, outside=found.outside, layout=plan.layout.name,
        fleet=issue.fleet, model=issue.model, sequence=issue.sequence, policy=hashlib.sha256(issue.policy).digest(),
        anchor=anchor_digest(issue.anchor), package=plan.deb.control["Version"], sbom=hashlib.sha256(listed).digest(),
        made=request.moment,
    )  # fmt: skip


def sound(disk: Disk, boot: Bootfs, blame: type[Refused] | type[Failed]) -> None:
    """Have both file systems checked by their own programs; before anything is written the image is to blame."""
    code, said, _ = ended("e2fsck", "-fn", disk.on_ext)
    if code != 0:
        told = " ".join(said.decode("utf-8", "replace").split())[-200:]
        raise blame(f"the root file system of the image is not sound ({told}); take a fresh image")
    try:
        boot.check()
    except Failed as error:
        raise blame(f"the boot partition of the image is not sound ({error}); take a fresh image") from None


def settled(output: Path, draft: dict[str, Path]) -> None:
    """Give every draft its name, durably, the manifest last."""
    for ending, path in draft.items():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.rename(beside(output, ending))
    names = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(names)
    finally:
        os.close(names)
