"""smbd of Samba: runs where it is configured; it holds no state, it asks the database at each login."""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is configured."""
    try:
        device.stat("/etc/samba/smb.conf")
    except PrivetError:
        return
    device.start(("/usr/sbin/smbd",), None, pidfile="/run/samba/smbd.pid")
