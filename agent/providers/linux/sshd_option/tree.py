"""A server configuration as OpenSSH reads it: the main file and everything it includes, in reading order."""

import hashlib
from collections.abc import Mapping
from fnmatch import fnmatchcase

from agent.core.errors import Missing, PrivetError, Unreadable
from agent.core.record import Record
from agent.providers.linux.sshd_option.words import arguments, statement
from agent.system.door import System

FOLDER = "/etc/ssh"
MAIN = FOLDER + "/sshd_config"
DEEPEST = 16  # servconf.c: SERVCONF_MAX_DEPTH
MOST_FILES = 256


class Line(Record):
    """One effective line: where it stands, its keyword and rest, and the numbers of the Match lines it stands under."""

    __slots__ = ("file", "keyword", "number", "rest", "under")
    file: str
    number: int
    keyword: str
    rest: str
    under: tuple[int, ...]


class Tree(Record):
    """A configuration: its lines in reading order, its Match lines (rest of each), and what it is made of.

    `newest` is the latest change (ns since 1970) of any file or included directory, `digest` stands for all content.
    """

    __slots__ = ("digest", "directories", "files", "lines", "matches", "newest")
    lines: tuple[Line, ...]
    matches: tuple[str, ...]
    files: tuple[str, ...]
    directories: tuple[str, ...]
    newest: int
    digest: str


class Reader:
    """Reads one tree; `planned` are files that do not exist yet and are read as if they did."""

    def __init__(self, system: System, planned: Mapping[str, bytes]) -> None:
        self.system = system
        self.planned = planned
        self.lines: list[Line] = []
        self.matches: list[str] = []
        self.files: list[str] = []
        self.directories: list[str] = []
        self.newest = 0
        self.hash = hashlib.sha256()

    def file(self, path: str, under: tuple[int, ...], depth: int) -> None:
        """Read one file; a Match in it ends with it, and holds only where the lines around its Include hold."""
        if depth > DEEPEST or len(self.files) >= MOST_FILES:
            raise Unreadable("the SSH configuration includes itself or too many files; see %s" % path)
        content = self.planned[path] if path in self.planned else self.system.read(path)
        self.files.append(path)
        if path not in self.planned:
            self.dated(path)
        self.hash.update(b"%d %s %d\0" % (depth, path.encode(), len(content)) + content)
        inner = under
        for number, text in enumerate(content.decode("utf-8", "surrogateescape").split("\n"), 1):
            keyword, rest = statement(text)
            if keyword == "match":
                self.matches.append(rest)
                inner = (*under, len(self.matches) - 1)
            elif keyword == "include":
                for pattern in arguments(rest):
                    for found in self.expand(pattern if pattern[:1] in {"/", "~"} else "%s/%s" % (FOLDER, pattern)):
                        self.file(found, inner, depth + 1)
            elif keyword:
                self.lines.append(Line(file=path, number=number, keyword=keyword, rest=rest, under=inner))

    def expand(self, pattern: str) -> tuple[str, ...]:
        """Return the files a pattern stands for, in the order of glob(3) in the C locale."""
        if not pattern.startswith("/"):
            return ()
        found = ["/"]
        for part in pattern.split("/")[1:]:
            if part:
                found = [path for base in found for path in self.step(base, part)]
        return tuple(sorted({path for path in found if path in self.planned or self.there(path)}))

    def step(self, base: str, part: str) -> list[str]:
        """Go one component down; a directory whose names are asked for is remembered, for its changes count too."""
        front = base.rstrip("/") + "/"
        if not any(mark in part for mark in "*?["):
            return [front + part]
        if base not in self.directories:
            self.directories.append(base)
            self.dated(base)
        names = {path[len(front) :] for path in self.planned if path.startswith(front)}
        try:
            names.update(self.system.entries(base))
        except PrivetError:
            names.add("")
        wanted = part.replace("[^", "[!")
        return [front + n for n in names if fnmatchcase(n, wanted) and n and (n[0] != "." or part[0] == ".")]

    def there(self, path: str) -> bool:
        """Say whether a path without wildcards exists."""
        try:
            self.system.stat(path)
        except Missing:
            return False
        return True

    def dated(self, path: str, hops: int = 8) -> None:
        """Note when a path changed, and what it links to; for one that is gone, when its directory changed."""
        try:
            stat = self.system.stat(path)
        except Missing:
            if path != "/":
                self.dated(path.rpartition("/")[0] or "/", hops)
            return
        self.newest = max(self.newest, stat.changed)
        if stat.kind == "link" and hops:
            target = self.system.target(path)
            self.dated(target if target.startswith("/") else "%s/%s" % (path.rpartition("/")[0], target), hops - 1)


def read_tree(system: System, main: str = MAIN, planned: Mapping[str, bytes] | None = None) -> Tree:
    """Read a configuration; Missing or Unreadable when a part that sshd would need cannot be read."""
    reader = Reader(system, planned or {})
    reader.file(main, (), 0)
    return Tree(
        lines=tuple(reader.lines),
        matches=tuple(reader.matches),
        files=tuple(reader.files),
        directories=tuple(reader.directories),
        newest=reader.newest,
        digest=reader.hash.hexdigest(),
    )
