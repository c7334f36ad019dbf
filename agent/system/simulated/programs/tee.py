"""tee of coreutils: what it is given goes into a file, and out again."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Write to the named files in place."""
    for path in argv[1:]:
        node = device.disk.find(device.disk.root, path, last=True)
        if node.accept is not None:
            node.accept(stdin)
        else:
            device.edit(path, stdin, in_place=True)
    return Outcome(code=0, out=stdin, err=b"")
