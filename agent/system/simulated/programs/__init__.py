"""Programs of the simulated device: one module each, the file name is the program's name (`-` and `.` become `_`).

A module has one of the first two at least, and may have the others:
`run(device, argv, stdin) -> Outcome`: what it does when it is run; a daemon without it is started;
`boot(device)`: what the device does with it at each start (set defaults, start a daemon);
`install(device)`: lay down the package's files, once, when the device is made;
`reload(device, process)`: what its running daemon does when it gets SIGHUP; systemd starts one without it anew.
"""

from typing import TYPE_CHECKING, Any

from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(program: Any, device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Run a program, or start the daemon that it is."""
    if hasattr(program, "run"):
        outcome: Outcome = program.run(device, argv, stdin)
        return outcome
    program.boot(device)
    return Outcome(code=0, out=b"", err=b"")
