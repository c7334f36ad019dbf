"""pdbedit of Samba: `-L -w` prints the users and their hashes; the database is what smbpasswd keeps."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.programs.smbpasswd import rows

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """List."""
    if argv[1:] != ("-L", "-w"):
        return Outcome(code=1, out=b"", err=b"pdbedit: unknown option\n")
    return Outcome(code=0, out="".join(":".join(row) + "\n" for row in rows(device).values()).encode(), err=b"")
