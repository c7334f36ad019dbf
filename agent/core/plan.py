"""From findings to changes, and the steps that changes are made of: effects as data."""

from .assess import LOOSENED, UNKNOWN
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .assess import Finding
    from .record import Value
    from .setting import Setting

    Step = "Write | Overwrite | Append | Remove | Own | Unlist | Run | Reload"

WAYS = ("console", "ssh_key", "ssh_password")
OWNERS = "only you can say whether it belongs there"


class Write(Record):
    """Replace a file durably: path, content, permission bits (0o644), owner, group (numeric)."""

    __slots__ = ("content", "gid", "mode", "path", "uid")
    path: str
    content: bytes
    mode: int
    uid: int
    gid: int


class Overwrite(Record):
    """Put other bytes where a file lies, as many as it holds, while it still is `before`: FAT has no atomic replace."""

    __slots__ = ("before", "content", "path")
    path: str
    before: bytes
    content: bytes


class Append(Record):
    """Add bytes at the end of a file on FAT while it still is `before`; empty: it is not there, and is made."""

    __slots__ = ("before", "content", "path")
    path: str
    before: bytes
    content: bytes


class Remove(Record):
    """Remove a file durably; one that is not there is fine."""

    __slots__ = ("path",)
    path: str


class Own(Record):
    """Set owner, group and permission bits of a file that exists, never through a link."""

    __slots__ = ("gid", "mode", "path", "uid")
    path: str
    mode: int
    uid: int
    gid: int


class Unlist(Record):
    """Take the access lists from a file or directory, never through a link; what has none is fine."""

    __slots__ = ("path",)
    path: str


class Run(Record):
    """Run a program with fixed arguments, no shell; a non-zero exit is a failure of the step."""

    __slots__ = ("argv", "stdin")
    argv: "tuple[str, ...]"
    stdin: bytes


class Reload(Record):
    """Make a daemon read its configuration again: through its unit, or by SIGHUP to the pid in `pidfile`."""

    __slots__ = ("pidfile", "unit")
    unit: str
    pidfile: str


class Change(Record):
    """A planned move of one setting; `held` is empty, or says why it must not be made now."""

    __slots__ = ("found", "held", "setting", "wanted")
    setting: str
    wanted: "Value"
    found: "Value | None"
    held: str


def plan(
    findings: "tuple[Finding, ...]", settings: "dict[str, Setting]", ways: "tuple[str, ...]", stopped: "tuple[str, ...]"
) -> "tuple[Change, ...]":
    """Plan the changes that bring every loosened or unproven setting back to what is wanted.

    `ways` are the owner's proven ways in (of WAYS); a change that closes the last of them is held. `stopped` are the
    settings that another program keeps undoing; those are left alone, the owner was told. What only the
    owner can settle is held.
    """
    open_ways = list(ways)
    changes = []
    for finding in findings:
        if finding.status not in (LOOSENED, UNKNOWN) or finding.setting in stopped:
            continue
        setting = settings[finding.setting]
        left = [way for way in open_ways if way not in setting.closes]
        held = ""
        if not setting.enforce:
            held = OWNERS
        elif open_ways and not left:
            held = "it would close the only way in that is known to work (%s)" % ", ".join(open_ways)
        else:
            open_ways = left
        changes.append(Change(setting=finding.setting, wanted=finding.wanted, found=finding.found, held=held))
    return tuple(changes)
