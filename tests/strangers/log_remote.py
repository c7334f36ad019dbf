"""Somebody has the log of a device sent away."""

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

WANTED = "/etc/systemd/system/multi-user.target.wants/systemd-journal-upload.service"
RULE, SENDER = "/etc/rsyslog.d/away.conf", "/etc/systemd/journal-upload.conf"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Write exactly these rules, for programs that start at the next start."""
    device.edit("/usr/sbin/rsyslogd", b"\x7fELF", mode=0o755)
    device.edit("/usr/lib/systemd/systemd-journal-upload", b"\x7fELF", mode=0o755)
    for path in (RULE, SENDER, WANTED):
        device.hand.discard(path)
    for word in value if isinstance(value, tuple) else ():
        name, _, machine = word.partition(":")
        if name == "rsyslog":
            device.edit(RULE, f"auth,authpriv.* @@{machine}:514\n".encode())
        else:
            device.edit(SENDER, f"[Upload]\nURL=https://{machine}\n".encode())
            device.hand.link(WANTED, "/usr/lib/systemd/system/systemd-journal-upload.service")
