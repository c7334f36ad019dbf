"""The ways an SSH server is started: its command lines, as units keep them and as processes show them."""

from collections.abc import Sequence

from agent.core.errors import Missing, PrivetError
from agent.core.record import Record
from agent.providers.linux.sshd_option.tree import MAIN
from agent.providers.linux.sshd_option.words import arguments, statement
from agent.system.door import System

PROGRAM = "/usr/sbin/sshd"
PROGRAMS = (PROGRAM, "/usr/bin/sshd", "/sbin/sshd", "sshd")  # those that read /etc/ssh/sshd_config by themselves
TAKES_WORD = "CEbcfghkopu"
UNIT_FOLDERS = (  # strongest first
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
SHIPPED = ("ssh.service", "ssh@.service", "sshd.service", "sshd@.service")
DEFAULTS = "/etc/default/ssh"


class Command(Record):
    """One way to start a server: program, configuration file ("" when unknown), -o options in order, origin."""

    __slots__ = ("file", "options", "origin", "program")
    program: str
    file: str
    options: tuple[str, ...]
    origin: str

    def asking(self) -> tuple[str, ...]:
        """Return the argument vector that makes the program tell its effective configuration."""
        file = ("-f", self.file) if self.file != MAIN else ()
        return (self.program, "-T", *file, *(word for option in self.options for word in ("-o", option)))


def command(words: Sequence[str], origin: str, *, joined: bool = False) -> Command:
    """Read a server's argument words; `joined`: the title lost its quotes, so a value goes on until the next `-`."""
    program = words[0] if words else PROGRAM
    file = MAIN if program in PROGRAMS else ""
    options: list[str] = []
    place = 1
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("-") or word == "-":
            continue
        cut = next((i for i, letter in enumerate(word) if i and letter in TAKES_WORD), 0)
        if not cut:
            continue
        value = [word[cut + 1 :]] if word[cut + 1 :] else list(words[place : place + 1])
        place += 0 if word[cut + 1 :] else 1
        while joined and place < len(words) and not words[place].startswith("-"):
            value.append(words[place])
            place += 1
        if word[cut] == "o":
            options.append(" ".join(value))
        elif word[cut] == "p":
            options.append("Port=%s" % " ".join(value))
        elif word[cut] == "f":
            file = " ".join(value)
    program = PROGRAM if program in PROGRAMS else program
    return Command(program=program, file=file, options=tuple(options), origin=origin)


def vetted(system: System, way: Command) -> Command:
    """Return a command whose program may be run as root: the packaged one, or one that nobody but root can replace.

    Of any other the files are taken to be unknown, so that only its door tells about it.
    """
    named = way.program.rpartition("/")[2] == "sshd"
    if way.program == PROGRAM or (named and only_root_writes(system, way.program)):
        return way
    return Command(program=PROGRAM, file="", options=way.options, origin=way.origin)


def only_root_writes(system: System, path: str) -> bool:
    """Say whether a file and every directory above it belong to root and nobody else may write there."""
    if not path.startswith("/"):
        return False
    while True:
        try:
            found = system.stat(path)
        except PrivetError:
            return False
        if found.uid != 0 or found.mode & 0o022 or found.kind == "link":
            return False
        if path == "/":
            return True
        path = path.rpartition("/")[0] or "/"


def option_of(text: str) -> tuple[str, str]:
    """Return keyword and value of a `-o` option."""
    keyword, rest = statement(text)
    return keyword, (arguments(rest) or ("",))[0]


def content(system: System, path: str) -> bytes:
    """Return a file's bytes, empty when it is missing or cannot be read."""
    try:
        return system.read(path)
    except PrivetError:
        return b""


def names(system: System, path: str) -> tuple[str, ...]:
    """Return the names in a directory, none when it is missing or cannot be read."""
    try:
        return system.entries(path)
    except PrivetError:
        return ()


def masked(system: System, path: str) -> bool:
    """Say whether a unit file is a link to nowhere, which switches the unit off."""
    try:
        return system.stat(path).kind == "link" and system.target(path) == "/dev/null"
    except PrivetError:
        return False


def assigned(text: str) -> list[tuple[str, str]]:
    """Return the assignments of a unit or environment file in order; lines ending in a backslash go on."""
    found = []
    for line in text.replace("\\\n", " ").split("\n"):
        key, equals, value = line.strip().partition("=")
        if equals and key.strip() and not key.startswith(("#", ";")):
            found.append((key.strip(), value.strip()))
    return found


Listings = dict[str, frozenset[str]]
"""Folder of units → names in it."""


class Unit:
    """One service as systemd puts it together from its file, its drop-ins and its environment files."""

    def __init__(self, system: System, name: str, there: Listings) -> None:
        self.system = system
        self.there = there
        self.name = name
        self.seen = b""
        self.starts: list[str] = []
        self.environment: dict[str, str] = {}
        self.later: dict[str, str] = {}
        for path in self.parts():
            blob = content(system, path)
            self.seen += path.encode() + b"\0" + blob + b"\0"
            for key, value in assigned(blob.decode("utf-8", "surrogateescape")):
                self.take(key, value)

    def parts(self) -> list[str]:
        """Return the files that make up the unit, in the order they count; none when it is masked or missing."""
        main = next((f"{folder}/{self.name}" for folder in UNIT_FOLDERS if self.name in self.there[folder]), "")
        if not main or masked(self.system, main):
            return []
        drops: dict[str, str] = {}
        for part in ("service.d", self.name + ".d"):
            for folder in reversed(UNIT_FOLDERS):
                if part in self.there[folder]:
                    drops |= {
                        n: f"{folder}/{part}/{n}" for n in names(self.system, f"{folder}/{part}") if n.endswith(".conf")
                    }
        return [main, *(drops[n] for n in sorted(drops))]

    def take(self, key: str, value: str) -> None:
        """Take one assignment."""
        if key == "ExecStart":
            self.starts = [*self.starts, value] if value else []
        elif key == "Environment":
            self.environment |= dict(word.partition("=")[::2] for word in arguments(value) if "=" in word)
        elif key == "EnvironmentFile":
            self.later = self.later if value else {}
            blob = content(self.system, value.lstrip("-"))
            self.seen += value.encode() + b"\0" + blob + b"\0"
            for name, text in assigned(blob.decode("utf-8", "surrogateescape")):
                self.later[name] = " ".join(arguments(text)) if text[:1] in {'"', "'"} else text

    def words(self, start: str) -> list[str]:
        """Return the words of a start line with its variables put in."""
        known = {**self.environment, **self.later}
        found: list[str] = []
        for word in arguments(start.lstrip("@-:+!")):
            if word.startswith("$") and not word.startswith("${"):
                found += arguments(known.get(word[1:], ""))
                continue
            for name, value in known.items():
                word = word.replace("${%s}" % name, value)  # noqa: PLW2901 - one word, several variables
            found.append(word)
        return found

    def commands(self) -> list[Command]:
        """Return the servers this unit starts."""
        lines = [self.words(start) for start in self.starts]
        return [command(w, "unit %s" % self.name) for w in lines if w and w[0].rpartition("/")[2] == "sshd"]


def kept(system: System) -> tuple[tuple[Command, ...], bytes]:
    """Return every way an SSH server is started on this device after a reboot, and what this was read from."""
    found: dict[str, Unit] = {}
    there: Listings = {folder: frozenset(names(system, folder)) for folder in UNIT_FOLDERS}
    candidates = {*SHIPPED}
    for folder in UNIT_FOLDERS[:2]:
        candidates.update(name for name in there[folder] if name.endswith(".service"))
    for name in sorted(candidates):
        found[name] = Unit(system, name, there)
    ways: list[Command] = []
    for unit in found.values():
        started = (vetted(system, way) for way in unit.commands())
        ways += [way for way in started if all(way.asking() != other.asking() for other in ways)]
    if not ways:
        table = dict(assigned(content(system, DEFAULTS).decode("utf-8", "surrogateescape")))
        text = table.get("SSHD_OPTS", "")
        bare = arguments(text)
        options = arguments(bare[0]) if text[:1] in {'"', "'"} and bare else bare
        ways = [command([PROGRAM, *options], DEFAULTS)]
    return tuple(ways), b"".join(unit.seen for unit in found.values()) + content(system, DEFAULTS)


def per_connection(system: System) -> bool:
    """Say whether systemd itself listens and starts a fresh server for each connection."""
    return any(
        name in {"ssh.socket", "sshd.socket"}
        for folder in UNIT_FOLDERS[:2]
        for name in names(system, folder + "/sockets.target.wants")
    )


def installed(system: System) -> bool:
    """Say whether the server's program is on this device."""
    try:
        system.stat(PROGRAM)
    except Missing:
        return False
    except PrivetError:
        return True
    return True
