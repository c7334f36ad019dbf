"""visudo -c: says whether sudo could read a file and all it includes."""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome
from agent.system.simulated.programs import cvtsudoers

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Check `-c` (everything) or `-cf FILE`."""
    path = argv[2] if len(argv) > 2 and argv[1] == "-cf" else "/etc/sudoers"
    try:
        cvtsudoers.Sudoers(device).file(path)
    except (PrivetError, ValueError) as error:
        return Outcome(code=1, out=b"", err=f"{path}: {error}\n".encode())
    return Outcome(code=0, out=f"{path}: parsed OK\n".encode(), err=b"")
