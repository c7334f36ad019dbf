"""The MQTT broker mosquitto 2: its files with all they include, and every listener asked by an MQTT CONNECT.

`bind` loopback, network · `anonymous` no, here (only from this device), yes · `tls` yes (whoever is elsewhere speaks
encrypted), no · `acl` yes (each listener has rules about topics), no.

What must be other is changed line by line where it stands, each line keeping what it was in a comment above it:
mosquitto has no other place that wins over a listener's own line.
"""

import itertools
from collections.abc import Iterator

from agent.core.errors import Missing, Unreachable
from agent.core.record import Record, Value
from agent.providers.linux.product import marks, unit
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Door, Process, content, get, widest
from agent.system.door import System
from agent.system.seen import names
from agent.system.talk import Conversation

MAIN = "/etc/mosquitto/mosquitto.conf"
RULES = "/etc/mosquitto/zz-privet.acl"
OWN_TOPICS = (
    "# Written by Privet: who has no rule of its own reaches the topics beneath its own name.\npattern readwrite %u/#\n"
)
FILES = (MAIN,)
UNITS = ("mosquitto.service",)
PROGRAMS = ("mosquitto",)
SAFE: dict[str, Value] = {"bind": LOOPBACK, "anonymous": "no", "tls": "yes", "acl": "yes"}
GIVEN: dict[str, dict[str, str]] = {}
NEAR = ("127.", "::1", "localhost", "/")
ENCRYPTED = ("certfile", "psk_hint")
RULED = ("acl_file", "plugin", "auth_plugin")
MARKS = ("/run/mosquitto/mosquitto.pid",)
EDITED = {"bind": (LOOPBACK, NETWORK), "anonymous": ("no", "here", "yes"), "tls": ("yes", "no"), "acl": ("yes", "no")}
TRUE = ("true", "1")
CONNECT = b"\x10\x0c\0\4MQTT\4\2\0\x0a\0\0"  # MQTT 3.1.1, a clean session, no name, no user
CONNACK = 0x20


class Line(Record):
    """One line of the configuration: file, place in it, key and value."""

    __slots__ = ("key", "path", "place", "value")
    path: str
    place: int
    key: str
    value: str


def main(system: System) -> str:
    """Return the file that its unit starts it with."""
    command = unit.words((unit.service(system, UNITS[0], "ExecStart") or [""])[-1])
    named = [after for word, after in itertools.pairwise(command) if word in ("-c", "--config-file")]
    return named[-1] if named else MAIN


def read(system: System, path: str, within: tuple[str, ...] = ()) -> Iterator[Line]:
    """Read a configuration with the files it includes, in mosquitto's order."""
    for place, raw in enumerate(content(system, path).split("\n")):
        key, _, value = raw.strip().partition(" ")
        value = value.strip()
        if key == "include_dir":
            for name in names(system, value) if value not in within else ():
                if name.endswith(".conf"):
                    yield from read(system, f"{value}/{name}", (*within, value))
        elif key and key[0] != "#":
            yield Line(path=path, place=place, key=key, value=value)


class Listener:
    """One listener: its lines, and whether it is there only because no other one is."""

    def __init__(self, lines: list[Line], alone: bool) -> None:
        self.lines = lines
        self.alone = alone
        self.given = {line.key: line.value for line in lines}

    def near(self) -> bool:
        """Say whether nobody but this device reaches it."""
        if "listener" in self.given:
            address = " ".join(self.given["listener"].split()[1:])
        else:
            address = self.given.get("bind_address", "localhost" if self.alone else "")
        return address.startswith(NEAR) or self.given.get("bind_interface") == "lo"

    def encrypted(self) -> bool:
        """Say whether what goes through it is encrypted."""
        return any(key in self.given for key in ENCRYPTED)


class Configuration:
    """What the files say."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.apart = any(one.key == "per_listener_settings" and one.value.lower() in TRUE for one in lines)
        groups: list[list[Line]] = [[]]
        for line in lines:
            if line.key == "listener":
                groups.append([])
            groups[-1].append(line)
        first, named = groups[0], groups[1:]
        explicit = any(line.key in ("port", "bind_address", "bind_interface") for line in first)
        self.listeners = [Listener(group, False) for group in named]
        if explicit or not named:
            self.listeners.insert(0, Listener(first, not explicit))

    def security(self, listener: Listener) -> dict[str, str]:
        """Return the options that decide who may what at a listener."""
        return listener.given if self.apart else {line.key: line.value for line in self.lines}

    def anonymous(self, listener: Listener) -> bool:
        """Say whether a listener lets in whoever gives no name; the one that nobody named does, whatever it is told."""
        said = self.security(listener).get("allow_anonymous", "false")
        return listener.alone or said.lower() in TRUE

    def ruled(self, listener: Listener) -> bool:
        """Say whether rules about topics hold at a listener."""
        return any(key in self.security(listener) for key in RULED)


def paths(system: System) -> tuple[str, ...]:
    """Name every file that is read, and the directories they lie in."""
    first = main(system)
    files = {line.path for line in read(system, first)}
    return ("/etc/mosquitto", first, *sorted(files - {first}), *included(system, first))


def included(system: System, path: str) -> tuple[str, ...]:
    """Return the directories whose files the main file includes."""
    lines = [line.strip().partition(" ") for line in content(system, path).split("\n")]
    return tuple(value.strip() for key, _, value in lines if key == "include_dir")


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say what the files make of it."""
    return said(Configuration(list(read(system, main(system)))), what)


def said(found: Configuration, what: str) -> str:
    """Judge a configuration."""
    far = [one for one in found.listeners if not one.near()]
    if what == "bind":
        return NETWORK if far else LOOPBACK
    if what == "tls":
        return "yes" if all(one.encrypted() for one in far) else "no"
    if what == "acl":
        return "yes" if all(found.ruled(one) for one in found.listeners) else "no"
    if any(found.anonymous(one) for one in far):
        return "yes"
    return "here" if any(found.anonymous(one) for one in found.listeners) else "no"


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running broker does, asked at each of its doors."""
    if what == "bind":
        return widest(running)
    if what == "acl":
        return None
    worst, untold = str(SAFE[what]), False
    for door in [door for one in running for door in one.doors]:
        if what == "tls" and door.scope == LOOPBACK:
            continue
        answer = knock(system, door)
        if what == "tls" and answer is not None:
            worst = "no"
        elif what == "anonymous" and answer == 0:
            worst = "yes" if door.scope == NETWORK or worst == "yes" else "here"
        elif answer is None and not (what == "tls" and door.near and not speaks_http(system, door)):
            untold = True
    return None if untold and worst != ("no" if what == "tls" else "yes") else worst


def knock(system: System, door: Door) -> int | None:
    """Ask to be let in without a name; the code of the answer, None where no plain MQTT is spoken with us."""
    if not door.near:
        return None
    try:
        return system.talk(door.port, hello(), 5)
    except Unreachable:
        return None


def hello() -> Conversation[int | None]:
    """Speak MQTT: CONNECT without a name, hear CONNACK."""
    heard = yield CONNECT
    while 0 < len(heard) < 4:
        more = yield b""
        heard = heard + more if more else b""
    return heard[3] if len(heard) > 3 and heard[0] == CONNACK else None


def speaks_http(system: System, door: Door) -> bool:
    """Say whether a door takes HTTP, and with it MQTT over WebSocket, in the clear."""
    try:
        return system.talk(door.port, get("/"), 5)[0] != 0
    except Unreachable:
        return False


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return the files that must be other, with their new text."""
    first = main(system)
    texts = {line.path: "" for line in read(system, first)} | {first: ""}
    before = {path: content(system, path) for path in texts}
    stands = Configuration(list(read(system, first)))
    texts = {path: marks.undone(before[path], what) for path in texts}
    found = Configuration(list(read(Texts(system, texts), first)))  # type: ignore[arg-type]
    changes: dict[tuple[str, int], tuple[Line | None, str]] = {}
    if option == SAFE[what] or option == "here":
        for listener in found.listeners:
            for line, text in changed(found, listener, what, str(option)):
                changes[("", -1) if line is None else (line.path, line.place)] = (line, text)
    for _, (line, text) in sorted(changes.items(), reverse=True):
        path = first if line is None else line.path
        lines = texts[path].split("\n")
        same = line is not None and text.split(" ")[0] == line.key
        if line is not None and same:
            marks.put(lines, line.place, what, text)
        else:
            marks.add(lines, len(lines) - (not lines[-1]) if line is None else line.place + 1, what, text)
        texts[path] = "\n".join(lines)
    # Two settings that each put their line last would write in turn for ever.
    moved = all(sorted(texts[path].split("\n")) == sorted(before[path].split("\n")) for path in texts)
    if moved and said(Configuration(list(read(Texts(system, texts), first))), what) == said(stands, what):  # type: ignore[arg-type]
        texts = before
    return texts | ({RULES: OWN_TOPICS} if what == "acl" and changes else {})


class Texts:
    """A system whose files are in part those of a draft."""

    def __init__(self, system: System, texts: dict[str, str]) -> None:
        self.system = system
        self.texts = texts

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Return the draft of a file, or the file."""
        if path in self.texts:
            return self.texts[path].encode()
        raise Missing(f"{path} is not part of the configuration")

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory."""
        return self.system.entries(path)


def changed(found: Configuration, listener: Listener, what: str, option: str) -> list[tuple[Line | None, str]]:
    """Return what must change about one listener: the line that goes or comes before (None: the end), and ours."""
    if what == "acl":
        return [] if found.ruled(listener) else once(found, listener, f"acl_file {RULES}")
    if what == "anonymous" and option == "no":
        if not found.anonymous(listener):
            return []
        if listener.alone:
            return [(None, "listener 1883 localhost")]
        told = [line for line in (listener.lines if found.apart else found.lines) if line.key == "allow_anonymous"]
        return [(line, "allow_anonymous false") for line in told] or once(found, listener, "allow_anonymous false")
    if (
        listener.near()
        or (what == "tls" and listener.encrypted())
        or (option == "here" and not found.anonymous(listener))
    ):
        return []
    for line in listener.lines:
        if line.key == "bind_interface":
            return [(line, "bind_interface lo")]
    for line in listener.lines:
        if line.key == "listener":
            return [(line, f"listener {line.value.split()[0]} 127.0.0.1")]
    told = [line for line in listener.lines if line.key == "bind_address"]
    ports = [line for line in listener.lines if line.key == "port"]
    return [(told[-1] if told else ports[-1], "bind_address 127.0.0.1")]


def once(found: Configuration, listener: Listener, text: str) -> list[tuple[Line | None, str]]:
    """Return a new line for a listener: after its first line where listeners stand apart, else once at the end."""
    if found.apart and listener.lines and not listener.alone:
        return [(listener.lines[0], text)]
    return [(None, text)] if listener is found.listeners[0] else []
