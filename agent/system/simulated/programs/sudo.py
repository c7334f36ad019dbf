"""sudo -l -U USER, as root: what the rules allow a user, in the layout of sudo 1.9."""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome
from agent.system.simulated.programs import cvtsudoers, sshd

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """List; anything else is not simulated."""
    if "-l" not in argv or "-U" not in argv[:-1]:
        return Outcome(code=1, out=b"", err=b"usage: sudo -l -U user\n")
    user = argv[argv.index("-U") + 1]
    reader = cvtsudoers.Sudoers(device)
    try:
        reader.file("/etc/sudoers")
    except (PrivetError, ValueError) as error:
        return Outcome(code=1, out=b"", err=f"sudo: {error}\n".encode())
    members = {user, "ALL", *(f"%{group}" for group in sshd.groups(device, user))}
    lines = []
    for users, _, rest in reader.rows:
        if members & set(reader.filled(users)):
            runas, _, commands = rest.rpartition(")")
            lines.append(f"    {runas + ') ' if runas else '(root) '}{commands.strip().replace(':ALL', ': ALL')}")
    if not lines:
        return Outcome(code=0, out=f"User {user} is not allowed to run sudo on device.\n".encode(), err=b"")
    text = "\n".join([f"User {user} may run the following commands on device:", *lines]).replace(":ALL)", " : ALL)")
    return Outcome(code=0, out=(text + "\n").encode(), err=b"")
