"""Somebody adds one line before all that PAM asks."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

ASKS = "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Write the lists that make exactly this value true; all others ask."""
    wanted = value if isinstance(value, tuple) else ()
    device.edit("/etc/pam.d/common-auth", ASKS.encode())
    programs = params["programs"]
    for program in programs if isinstance(programs, tuple) else ():
        added = [word.partition(":")[2] for word in wanted if word.startswith(f"{program}:")]
        lines = [f"auth sufficient {module}.so\n" for module in added]
        device.edit(f"/etc/pam.d/{program}", "".join([*lines, "@include common-auth\n"]).encode())
