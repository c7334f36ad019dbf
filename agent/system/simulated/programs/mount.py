"""mount of util-linux: at each start the device's partitions are where they were; asked, it lists them."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.volume import show, table

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def boot(device: "SimulatedSystem") -> None:
    """Mount what the image says."""
    show(device)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """List what is mounted."""
    return Outcome(code=0, out=table(device.disk), err=b"")
