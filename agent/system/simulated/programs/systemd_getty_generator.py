"""systemd's generator of logins: one on each serial console of the kernel; systemd runs it at each start."""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

TEMPLATE = "/usr/lib/systemd/system/serial-getty@.service"


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Want a login on each of them, in the directory that it is given last."""
    try:
        words = device.read("/proc/cmdline").decode().split()
    except PrivetError:
        words = []
    for word in words:
        line = word.removeprefix("console=").partition(",")[0]
        if line.startswith(("ttyS", "ttyAMA")):
            device.hand.link(f"{argv[-1]}/getty.target.wants/serial-getty@{line}.service", TEMPLATE)
    return Outcome(code=0, out=b"", err=b"")
