"""The ext4 side of an image: files are read and written by debugfs, and every write is read back.

debugfs ends with 0 whatever went wrong, so what it says of itself counts for nothing here.
"""

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from agent.core.errors import BadInput, Failed, Missing
from agent.core.record import Record
from provisioning.card.disk import Disk
from provisioning.card.programs import ran

FILE, FOLDER, LINK = "regular", "directory", "symlink"
TYPES = {FILE: 0o100000, FOLDER: 0o040000}
PLAIN = re.compile(r"/[\w@%+=:,.~/ -]*")  # what debugfs takes between quotes as it stands
MOST_LINK = 59  # bytes of a link that needs no block of its own
ANSWER = re.compile(r"^debugfs: stat \"(.*)\"$")
FACTS = re.compile(r"Type: (\w+) .*?Mode:\s+(\d+).*?User:\s+(\d+)\s+Group:\s+(\d+).*?mtime: 0x(\w+)", re.DOTALL)
TARGET = re.compile(r"^Fast link dest: \"(.*)\"$", re.MULTILINE)


class Entry(Record):
    """A file, folder or link of a root file system: what it holds or where it leads, its rights, owner and date."""

    __slots__ = ("content", "gid", "kind", "mode", "mtime", "path", "target", "uid")
    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    content: bytes
    target: str


class Rootfs:
    """The root file system of a disk. `moment` is the time (Unix seconds) that everything written gets."""

    def __init__(self, disk: Disk, moment: int) -> None:
        self.disk = disk
        self.moment = moment

    def read(self, path: str) -> bytes:
        """Return what a file holds; Missing when there is none."""
        found = self.reads((path,))
        if path not in found:
            raise Missing(f"the image has no {path}; take an image of Raspberry Pi OS")
        return found[path]

    def reads(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Return what those of the files hold that are there; a link is not followed."""
        wanted = [named(path) for path in paths]
        with tempfile.TemporaryDirectory(prefix="privet-image-") as name:
            places = {path: Path(name) / str(number) for number, path in enumerate(wanted)}
            self._tell([f'dump "{path}" "{place}"' for path, place in places.items()])
            return {path: place.read_bytes() for path, place in places.items() if place.is_file()}

    def names(self, folder: str) -> tuple[str, ...]:
        """Return the names in a folder, none when there is no such folder."""
        said = self._tell([f'ls -p "{named(folder)}"'])
        rows = [line.split("/") for line in said.splitlines() if line.startswith("/")]
        return tuple(sorted(row[5] for row in rows if len(row) == 8 and row[5] not in {".", ".."}))

    def stats(self, paths: Iterable[str]) -> dict[str, Entry]:
        """Return what is where, without what it holds; what is not there is left out."""
        wanted = [named(path) for path in paths]
        found: dict[str, Entry] = {}
        at, told = "", []
        for line in [*self._tell([f'stat "{path}"' for path in wanted]).splitlines(), 'debugfs: stat ""']:
            if (asked := ANSWER.match(line)) is None:
                told.append(line)
                continue
            entry = _entry(at, "\n".join(told))
            found |= {at: entry} if entry else {}
            at, told = asked[1], []
        return found

    def write(self, entries: Iterable[Entry]) -> None:
        """Write files, folders and links, then read them back; Failed names the first that is not as it should be.

        Folders come before what is in them. A file that is there is replaced; a folder that is there stays as it is.
        """
        wanted = list(entries)
        there = self.stats(one.path for one in wanted)
        fresh = [one for one in wanted if not (one.kind == FOLDER and one.path in there)]
        with tempfile.TemporaryDirectory(prefix="privet-image-") as name:
            told: list[str] = []
            for number, one in enumerate(fresh):
                place = Path(name) / str(number)
                if one.kind == FILE:
                    place.write_bytes(one.content)
                told += _commands(one, place, one.path in there)
            self._tell(told, write=True)
        self.check(fresh)

    def check(self, entries: Iterable[Entry]) -> None:
        """Read entries back."""
        wanted = list(entries)
        contents = self.reads(one.path for one in wanted if one.kind == FILE)
        there = self.stats(one.path for one in wanted)
        for one in wanted:
            found = there.get(one.path)
            same = found is not None and (found.kind, found.uid, found.gid) == (one.kind, one.uid, one.gid)
            if found is not None and one.kind != LINK:
                same = same and (found.mode, found.mtime) == (one.mode, one.mtime)
            if not same or (found and found.target != one.target) or contents.get(one.path, b"") != one.content:
                raise Failed(f"{one.path} is not in the image as it was written; look at the free space of the image")

    def _tell(self, commands: list[str], *, write: bool = False) -> str:
        with tempfile.NamedTemporaryFile("w", prefix="privet-debugfs-", encoding="utf-8") as script:
            script.write("".join(f"{line}\n" for line in commands))
            script.flush()
            options = ["-w"] if write else []
            said = ran("debugfs", *options, "-f", script.name, self.disk.on_ext, moment=self.moment)
        return said.decode("utf-8", "replace")


def named(path: str) -> str:
    """Return a path that can stand in a command of debugfs; BadInput for any other."""
    if PLAIN.fullmatch(path) is None or ".." in path.split("/"):
        raise BadInput(f"{path!r} is no path that can be written into an image; use plain letters")
    return path


def _commands(one: Entry, place: Path, there: bool) -> list[str]:
    path = named(one.path)
    folder, _, name = path.rpartition("/")
    if one.kind == FOLDER:
        made = [f'mkdir "{path}"']
    elif one.kind == LINK:
        if len(one.target.encode()) > MOST_LINK or PLAIN.fullmatch("/" + one.target) is None:
            raise BadInput(f"the link {path} leads to a place that cannot be written into an image; use a shorter one")
        return [*([f'rm "{path}"'] if there else []), f'symlink "{path}" "{one.target}"', *_owned(one, path)]
    else:
        made = [*([f'rm "{path}"'] if there else []), f'cd "{folder or "/"}"', f'write "{place}" "{name}"', 'cd "/"']
    return [
        *made,
        f'sif "{path}" mode 0{TYPES[one.kind] | one.mode:o}',
        *_owned(one, path),
        f'sif "{path}" mtime @{one.mtime}',
    ]


def _owned(one: Entry, path: str) -> list[str]:
    return [f'sif "{path}" uid {one.uid}', f'sif "{path}" gid {one.gid}']


def _entry(path: str, said: str) -> Entry | None:
    facts = FACTS.search(said)
    if facts is None:
        return None
    target = TARGET.search(said)
    return Entry(
        path=path, kind=facts[1], mode=int(facts[2], 8), uid=int(facts[3]), gid=int(facts[4]),
        mtime=int(facts[5][:8], 16), content=b"", target=target[1] if target else "",
    )  # fmt: skip
