"""Swap, as far as /proc/swaps tells of it: on while the service of dphys-swapfile is up, until it is given back."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.programs import systemctl

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

UNIT = "dphys-swapfile.service"
HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def boot(device: "SimulatedSystem") -> None:
    """Show what is in use."""
    device.hand.produced("/proc/swaps", lambda: swaps(device))


def swaps(device: "SimulatedSystem") -> bytes:
    """Return /proc/swaps."""
    systemd = systemctl.BOOTED.get(device)
    on = systemd is not None and UNIT in systemd.active
    return (HEADING + ("/var/swap                               file\t\t102396\t\t0\t\t-2\n" if on else "")).encode()


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Give swap back."""
    systemctl.BOOTED[device].active.pop(UNIT, None)
    return Outcome(code=0, out=b"", err=b"")
