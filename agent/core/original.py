"""What the device was like before: which things steps change, and what to do with each when all is put back."""

from .plan import Append, Overwrite, Own, Reload, Remove, Run, Unlist, Write
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE, RIGHTS, LISTED, KERNEL, UNIT, DAEMON = "file", "rights", "listed", "kernel", "unit", "daemon"
PLACE = "place"  # a file that is changed where it lies, for it is on FAT
ABSENT, LINK, OTHER = "absent", "link", "other"  # what a file may be besides "file"
SAME, PUT, KEEP = "same", "put", "keep"
RESTART = "restart"  # of a daemon, where there is no pid file to reload it by
MANY = 64  # of our own states that are remembered


class Thing(Record):
    """One thing that a step changes: its kind, and its path, unit or key; `more` is what else is needed for it."""

    __slots__ = ("kind", "more", "name")
    kind: str
    name: str
    more: str


class State(Record):
    """How a thing is: `form` (file, link, absent, other; active, inactive), rights, content or target or value."""

    __slots__ = ("content", "form", "gid", "mode", "uid")
    form: str
    mode: int
    uid: int
    gid: int
    content: bytes


def thing(kind: str, name: str, more: str = "") -> Thing:
    """Name a thing."""
    return Thing(kind=kind, name=name, more=more)


def state(form: str, content: bytes = b"", mode: int = 0, uid: int = 0, gid: int = 0) -> State:
    """Make a state."""
    return State(form=form, content=content, mode=mode, uid=uid, gid=gid)


def things(steps: "tuple[Any, ...]") -> "tuple[Thing, ...]":
    """Name everything that these steps change, in their order, each once.

    Tables of the firewall are not among them: our own table is ours alone, and goes as a whole.
    """
    found: "list[Thing]" = []
    written: "dict[str, bytes]" = {}
    for step in steps:
        if isinstance(step, Write):
            written[step.path] = step.content
            more = [thing(FILE, step.path)]
        elif isinstance(step, Remove):
            more = [thing(FILE, step.path)]
        elif isinstance(step, Overwrite) or isinstance(step, Append):
            more = [thing(PLACE, step.path)]
        elif isinstance(step, Own):
            more = [thing(RIGHTS, step.path)]
        elif isinstance(step, Unlist):
            more = [thing(LISTED, step.path)]
        elif isinstance(step, Reload):
            more = [thing(DAEMON, step.unit, step.pidfile)]
        elif isinstance(step, Run):
            more = by_program(step.argv, written, step.stdin)
        else:
            more = []
        found += [one for one in more if one not in found]
    return tuple(found)


def by_program(argv: "tuple[str, ...]", written: "dict[str, bytes]", stdin: bytes) -> "list[Thing]":
    """Name what a program changes, as far as it is one of those that providers run."""
    words = [word for word in argv[1:] if not word.startswith("-")]
    if argv[0] == "sysctl":
        lines = stdin if argv[-1] == "-" else written.get(words[-1] if words else "", b"")
        return [thing(KERNEL, key) for key in keys(lines)]
    if argv[0] != "systemctl" or len(words) < 2:
        return []
    units = [plain(word) for word in words[1:]]
    if words[0] in ("start", "stop"):
        return [thing(UNIT, unit) for unit in units]
    if words[0] == "unmask":
        return [thing(FILE, "/etc/systemd/system/" + unit) for unit in units]
    if words[0] in ("restart", "try-restart"):
        return [thing(DAEMON, unit, RESTART) for unit in units]
    return []


def plain(word: str) -> str:
    """Return the unit behind a pattern that matches one unit only: ssh.servic[e]."""
    return word.replace("[", "").replace("]", "")


def keys(content: bytes) -> "list[str]":
    """Return the keys that a file of ours for sysctl sets, as paths below /proc/sys."""
    found = []
    for line in content.decode().split("\n"):
        key, equals, _ = line.partition(" = ")
        if equals and not line.startswith("#"):
            found.append(key)
    return found


def verdict(before: State, now: State, ours: "tuple[bytes, ...]", fingerprint: bytes) -> str:
    """Say what to do with one thing: SAME, nothing; PUT it back; KEEP a copy of what it is now, then put it back.

    `ours` are the fingerprints of what we made of it, `fingerprint` is that of its present content: what is neither as
    before nor as we left it was changed by somebody else, and is not overwritten without a trace.
    """
    if now == before:
        return SAME
    if now.form == ABSENT or fingerprint in ours:
        return PUT
    if now.form == before.form == FILE and now.content == before.content:  # only the rights differ
        return PUT
    return KEEP


def remembered(ours: "tuple[bytes, ...]", fingerprint: bytes) -> "tuple[bytes, ...]":
    """Add one of our own states, the newest last; the oldest fall off."""
    if fingerprint in ours:
        return ours
    return (ours + (fingerprint,))[-MANY:]
