"""A Debian package as its parts: what it needs, its scripts, every file with its rights."""

import io
import tarfile
from pathlib import Path

from agent.core.errors import BadInput, Failed, Missing
from agent.core.record import Record
from provisioning.card.programs import ran, there
from provisioning.card.rootfs import FILE, FOLDER, LINK, Entry

MOST = 256 << 20  # bytes unpacked
WANTED = ("Package", "Version", "Architecture")


class Deb(Record):
    """A package: the fields of its control file, the files beside that, and what it unpacks."""

    __slots__ = ("beside", "control", "entries")
    control: dict[str, str]
    beside: dict[str, bytes]
    entries: tuple[Entry, ...]


def read_deb(path: Path) -> Deb:
    """Take a package apart; Missing or BadInput when that cannot be done."""
    there("dpkg-deb")
    if not path.is_file():
        raise Missing(f"{path} is not there; build it with: make deb ARCH=arm64")
    try:
        beside = {
            one.path.lstrip("/"): one.content for one in members(ran("dpkg-deb", "--ctrl-tarfile", path)) if one.content
        }
        entries = members(ran("dpkg-deb", "--fsys-tarfile", path))
    except (Failed, tarfile.TarError):
        raise BadInput(
            f"{path} is no Debian package, or is damaged; build it again with: make deb ARCH=arm64"
        ) from None
    control = fields(beside.pop("control", b"").decode("utf-8", "replace"))
    lacking = [name for name in WANTED if not control.get(name)]
    if lacking:
        raise BadInput(f"{path} is a package without {lacking[0]}; build it again with: make deb ARCH=arm64")
    return Deb(control=control, beside=beside, entries=entries)


def members(tar: bytes) -> tuple[Entry, ...]:
    """Return what a tar archive holds, in its order; its root folder is left out."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for one in archive:
            path = "/" + one.name.removeprefix("./").strip("/")
            kind = FOLDER if one.isdir() else LINK if one.issym() else FILE if one.isreg() else ""
            if not kind or one.size > MOST:
                raise BadInput(f"{path} in the package is neither a file, a folder nor a link; build the package again")
            stream = archive.extractfile(one) if kind == FILE else None
            content = stream.read() if stream else b""
            if path in {"/", "/."}:
                continue
            found.append(
                Entry(path=path, kind=kind, mode=one.mode & 0o7777, uid=one.uid, gid=one.gid, mtime=int(one.mtime),
                      content=content, target=one.linkname if kind == LINK else "")
            )  # fmt: skip
    return tuple(found)


def fields(text: str) -> dict[str, str]:
    """Read one paragraph of a control file; a value keeps its further lines."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1] in {" ", "\t"} and name:
            found[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            found[name] = value.strip()
    return found


def paragraphs(text: str) -> list[dict[str, str]]:
    """Read a file of such paragraphs."""
    return [fields(part) for part in text.split("\n\n") if part.strip()]
