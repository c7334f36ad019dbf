"""sleep of coreutils: lets time pass on the simulated device, in whole seconds, and none in the real world."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Wait."""
    device.tick(int(float(argv[1])))
    return Outcome(code=0, out=b"", err=b"")
