"""pwconv of Debian 12: moves the passwords that stand in /etc/passwd to /etc/shadow, without fsync of the directory."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system.door import Outcome
from agent.system.simulated.programs.chpasswd import (
    PASSWD,
    SHADOW,
    SHADOW_GROUP,
    backed_up,
    changed,
    locked,
    names,
    replaced,
    unlocked,
)

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Convert."""
    why = locked(device)
    if why:
        return Outcome(code=5, out=b"", err=b"pwconv: %s\n" % why)
    passwd = device.read(PASSWD)
    try:
        shadow = device.read(SHADOW)
        backed_up(device, SHADOW)
    except Missing:
        shadow = b""
        device.edit(SHADOW, b"", mode=0o640, gid=SHADOW_GROUP, in_place=True)
    for line in passwd.split(b"\n"):
        parts = line.split(b":")
        if len(parts) < 2 or parts[1] == b"x":
            continue
        passwd = changed(passwd, parts[0], b"x")
        if parts[0] in names(shadow):
            shadow = changed(shadow, parts[0], parts[1])
        else:
            shadow = shadow.rstrip(b"\n") + b"\n" * bool(shadow) + b"%s:%s:20000:0:99999:7:::\n" % (parts[0], parts[1])
    backed_up(device, PASSWD)
    replaced(device, SHADOW, "/etc/shadow+", shadow)
    replaced(device, PASSWD, "/etc/passwd+", passwd)
    unlocked(device)
    return Outcome(code=0, out=b"", err=b"")
