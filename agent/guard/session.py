"""Whether a caller has signed in after a moment: the proof that the owner can still get in.

A process says nothing true of itself, so its parents are walked up to the program that let its user in, which runs as
root: a session of the SSH server, or login at the device. When that began is the kernel's word. A new window in an old
session, `setsid`, `screen` or a job of cron begins later too, but nobody signed in for it: the nearest such parent is
older, or there is none.
"""

from agent.core.errors import PrivetError
from agent.system.door import System

DOORS = ("sshd", "sshd-session", "login", "sulogin", "gdm-session-wor", "lightdm")  # the kernel keeps 15 letters
TICKS = 100  # USER_HZ: a part of the kernel's interface, the same wherever Linux runs for us (proc(5))
DEPTH = 64


def signed_in_since(system: System, pid: int, moment: int) -> bool:
    """Say whether the process belongs to a session that began later than a moment (seconds of uptime)."""
    here = pid
    for _ in range(DEPTH):
        if here < 2:
            return False
        try:
            name, parent, began = lineage(system.read(f"/proc/{here}/stat", 4096))
            roots = is_root(system.read(f"/proc/{here}/status", 65536))
        except (PrivetError, ValueError, IndexError):
            return False
        if name in DOORS and roots:
            return began // TICKS > moment
        here = parent
    return False


def lineage(stat: bytes) -> tuple[str, int, int]:
    """Return name, parent and start (in ticks since the device started) from the text of /proc/<pid>/stat."""
    head, _, rest = stat.rpartition(b")")
    fields = rest.split()
    return head.partition(b"(")[2].decode("utf-8", "replace"), int(fields[1]), int(fields[19])


def is_root(status: bytes) -> bool:
    """Say whether a process runs as root in every respect, from the text of /proc/<pid>/status."""
    rows = [line.split() for line in status.splitlines() if line.startswith(b"Uid:")]
    return bool(rows) and set(rows[0][1:]) == {b"0"}
