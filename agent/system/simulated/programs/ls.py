"""`ls -ld` of one path: the rights of a file as letters. A plus sign says that it has an access list."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

KINDS = {"file": "-", "directory": "d", "link": "l", "socket": "s", "fifo": "p", "device": "c"}


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Print one line, owner and group by number."""
    path = argv[-1]
    try:
        stat = device.stat(path)
    except Missing:
        return Outcome(code=2, out=b"", err=b"ls: cannot access '%s': No such file or directory\n" % path.encode())
    letters = "".join(letter if stat.mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx"))
    plus = "+" if stat.kind in ("file", "directory") and any(device.access_lists(path)) else ""
    line = f"{KINDS[stat.kind]}{letters}{plus} 1 {stat.uid} {stat.gid} {stat.size} {path}\n"
    return Outcome(code=0, out=line.encode(), err=b"")
