"""Somebody names time servers."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Write chrony's files so that exactly these are asked."""
    names = value if isinstance(value, tuple) else ()
    device.edit("/usr/sbin/chronyd", b"\x7fELF", mode=0o755)
    own = "".join(f"pool {name} iburst\n" for name in names if not name.startswith("dhcp:"))
    device.edit("/etc/chrony/chrony.conf", (own + "sourcedir /run/chrony-dhcp\n").encode())
    given = "".join(f"server {name[5:]} iburst\n" for name in names if name.startswith("dhcp:"))
    device.edit("/run/chrony-dhcp/eth0.sources", given.encode())
