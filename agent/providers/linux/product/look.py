"""What of a product runs now: its processes, what each was started with, where it listens, whether it is up to date."""

from agent.core.errors import Missing, PrivetError, Unreachable
from agent.core.record import Record
from agent.system.door import System
from agent.system.seen import names
from agent.system.talk import Conversation

TICKS = 100  # of /proc/<pid>/stat in a second, on every Linux
LISTENING = "0A"  # include/net/tcp_states.h
LOOPBACK, NETWORK = "loopback", "network"
INTERPRETERS = ("env", "node", "perl", "python", "sh", "bash")
UNSURE = 1_020_000_000  # ns by which a start may be later than the kernel's whole seconds and ticks say
ANSWER = 1 << 16  # bytes of an answer that are heard


class Door(Record):
    """One TCP port that a process listens on: who reaches it, and whether we do (over the loopback)."""

    __slots__ = ("near", "port", "scope")
    port: int
    scope: str
    near: bool


class Process(Record):
    """A running program: its number, when it started (ns since 1970), its environment, its words, its doors."""

    __slots__ = ("doors", "environment", "pid", "started", "words")
    pid: str
    started: int
    environment: dict[str, str]
    words: tuple[str, ...]
    doors: tuple[Door, ...]


def content(system: System, path: str) -> str:
    """Return the text of a file, empty when it is not there."""
    try:
        return system.read(path, 8 << 20).decode("utf-8", "surrogateescape")
    except Missing:
        return ""


def there(system: System, path: str) -> bool:
    """Say whether a path is there: one look, which is all that an absent product costs."""
    try:
        system.stat(path)
    except PrivetError:
        return False
    return True


def rights(system: System, path: str) -> str:
    """Return mode, owner and group of a file in one word each; those of a new file where there is none."""
    try:
        stat = system.stat(path)
    except Missing:
        return f"{0o644} 0 0"
    return f"{stat.mode} {stat.uid} {stat.gid}"


def processes(system: System, programs: tuple[str, ...]) -> tuple[Process, ...]:
    """Return the running processes of these programs; one that ends meanwhile is none."""
    found = []
    for pid in names(system, "/proc"):
        if not pid.isdigit():
            continue
        try:
            words = tuple(content(system, f"/proc/{pid}/cmdline").rstrip("\0").split("\0"))
            if is_one(words, programs):
                found.append(process(system, pid, words))
        except (Missing, IndexError):
            continue
    return tuple(found)


def is_one(words: tuple[str, ...], programs: tuple[str, ...]) -> bool:
    """Say whether a command line is that of a program: by its first word, or by the script that the first one runs."""
    first = words[0].split(" ", 1)[0].rpartition("/")[2]
    if first in programs:
        return True
    if not first.rstrip("0123456789.").startswith(INTERPRETERS):
        return False
    return any(word.rpartition("/")[2] in programs for word in words[1:4])


def process(system: System, pid: str, words: tuple[str, ...]) -> Process:
    """Look at one process."""
    fields = content(system, f"/proc/{pid}/stat").rpartition(")")[2].split()
    booted = [line.split()[1] for line in content(system, "/proc/stat").split("\n") if line.startswith("btime ")]
    given = content(system, f"/proc/{pid}/environ").split("\0")
    return Process(
        pid=pid,
        started=int(booted[0] if booted else 0) * 1_000_000_000 + int(fields[19]) * (1_000_000_000 // TICKS),
        environment=dict(one.partition("=")[::2] for one in given if "=" in one),
        words=words,
        doors=doors(system, pid),
    )


def doors(system: System, pid: str) -> tuple[Door, ...]:
    """Return where a process listens, in the network that it lives in."""
    own = set(system.targets(f"/proc/{pid}/fd").values())
    found = []
    for name in ("tcp", "tcp6"):
        for row in content(system, f"/proc/{pid}/net/{name}").split("\n")[1:]:
            words = row.split()
            if len(words) > 9 and words[3] == LISTENING and f"socket:[{words[9]}]" in own:
                address, _, port = words[1].partition(":")
                blob = bytes.fromhex(address)
                blob = b"".join(blob[place : place + 4][::-1] for place in range(0, len(blob), 4))
                scope = LOOPBACK if is_loopback(blob) else NETWORK
                near = not any(blob) or blob in (b"\x7f\0\0\1", bytes(15) + b"\1")
                found.append(Door(port=int(port, 16), scope=scope, near=near))
    return tuple(found)


def is_loopback(address: bytes) -> bool:
    """Say whether an address is reached from this device alone."""
    four = address[12:] if address[:12] == bytes(10) + b"\xff\xff" else address
    return four[0] == 127 if len(four) == 4 else address == bytes(15) + b"\1"


def widest(running: tuple[Process, ...]) -> str:
    """Return who reaches a product that runs."""
    return NETWORK if any(door.scope == NETWORK for one in running for door in one.doors) else LOOPBACK


def fresh(system: System, running: tuple[Process, ...], paths: tuple[str, ...], marks: tuple[str, ...]) -> bool:
    """Say whether each process started after all of these files (or names in directories) had changed.

    The kernel tells a start to a second only. `marks` are files written when the product starts; the one of
    that second tells it better.
    """
    newest = 0
    for path in paths:
        try:
            newest = max(newest, system.stat(path).changed)
        except Missing:
            continue
    written = [system.stat(mark).changed for mark in marks if there(system, mark)]
    return all(
        max((one.started, *(when for when in written if 0 <= when - one.started < UNSURE))) >= newest for one in running
    )


def get(path: str, more: str = "") -> Conversation[tuple[int, bytes]]:
    """Speak HTTP: ask for a path, return status and what was heard; 0 when no HTTP comes back."""
    heard = yield f"GET {path} HTTP/1.0\r\nHost: localhost\r\n{more}\r\n".encode()
    part = heard
    while part and not whole(heard):
        part = yield b""
        heard += part
    words = heard.split(b"\n", 1)[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].strip().isdigit():
        return 0, heard
    return int(words[1]), heard.partition(b"\r\n\r\n")[2]


def whole(heard: bytes) -> bool:
    """Say whether an answer is complete by its own words, or longer than anybody wants to hear."""
    head, ended, body = heard.partition(b"\r\n\r\n")
    sizes = [
        line.partition(b":")[2].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    return len(heard) >= ANSWER or (bool(ended) and bool(sizes) and sizes[0].isdigit() and len(body) >= int(sizes[0]))


def asked(system: System, running: tuple[Process, ...], path: str) -> tuple[int, bytes] | None:
    """Ask the first door of a product that speaks HTTP to us; None when there is none."""
    for one in running:
        for door in one.doors:
            if door.near:
                try:
                    status, body = system.talk(door.port, get(path), 5)
                except Unreachable:
                    continue
                if status:
                    return status, body
    return None
