"""The MQTT broker mosquitto 2: its files with all they include, and every listener asked by an MQTT CONNECT.

`bind` loopback, network · `anonymous` no, here (only from this device), yes · `tls` yes (whoever is elsewhere speaks
encrypted), no · `acl` yes (each listener has rules about topics), no.

What must be other is changed line by line where it stands, each line keeping what it was in a comment above it:
mosquitto has no other place that wins over a listener's own line.
"""

import itertools

from agent.core.errors import Missing, Unreachable
from agent.core.record import Value
from agent.providers.linux.product import marks, unit
from agent.providers.linux.product.broker_files import WHOLE, Configuration, Line, Listener, read
from agent.providers.linux.product.look import LOOPBACK, NETWORK, Door, Process, content, get, widest
from agent.system.door import System
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
MARKS = ("/run/mosquitto/mosquitto.pid",)
EDITED = {"bind": (LOOPBACK, NETWORK), "anonymous": ("no", "here", "yes"), "tls": ("yes", "no"), "acl": ("yes", "no")}
CONNECT = b"\x10\x0c\0\4MQTT\4\2\0\x0a\0\0"  # MQTT 3.1.1, a clean session, no name, no user
CONNACK = 0x20


def main(system: System) -> str:
    """Return the file that its unit starts it with."""
    command = unit.words((unit.service(system, UNITS[0], "ExecStart") or [""])[-1])
    named = [after for word, after in itertools.pairwise(command) if word in ("-c", "--config-file")]
    return named[-1] if named else MAIN


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
    found = Configuration(list(read(Texts(system, texts), first)), first)  # type: ignore[arg-type]
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
        return named_only(found, listener) if found.anonymous(listener) else []
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
    return [((told or ports)[-1] if told or ports else None, "bind_address 127.0.0.1")]


def named_only(found: Configuration, listener: Listener) -> list[tuple[Line | None, str]]:
    """Return what must change for a listener that is to let in nobody who gives no name."""
    told = [line for line in (listener.lines if found.apart else found.lines) if line.key == "allow_anonymous"]
    changes: list[tuple[Line | None, str]] = [(line, "allow_anonymous false") for line in told]
    if listener.alone:
        return [*changes, (None, "listener 1883 localhost")]
    if found.local and not found.apart:  # until a port is told, it heeds nothing
        return [*changes, (None, "port 1883")]
    return changes or once(found, listener, "allow_anonymous false")


def once(found: Configuration, listener: Listener, text: str) -> list[tuple[Line | None, str]]:
    """Return a new line for a listener: after its first line where listeners stand apart, else once at the end.

    Before the line that sets them apart mosquitto takes none about who may what, and does not start: so for the one
    without a name it is a place among its lines behind that, or the end of a main file that names no listener; else
    there is none, and a person has to order the lines.
    """
    if not found.apart or listener.alone or not listener.lines:
        return [(None, text)] if listener is found.listeners[0] else []
    if not listener.nameless:
        return [(listener.lines[0], text)]
    known = [id(line) for line in listener.lines if line.key not in WHOLE]
    behind = [line for line in found.behind() if id(line) in known]
    ends = all(line.key != "listener" for line in found.lines if line.path == found.main)
    return [(behind[0] if behind else None, text)] if behind or ends else []
