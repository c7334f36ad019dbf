"""Somebody lists keys that open the device."""

import base64
import hashlib

from agent.core.record import Params, Value
from agent.system.simulated import SimulatedSystem

KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519 a stranger's key")
PRINT = base64.b64encode(hashlib.sha256(base64.b64decode(KEY)).digest()).rstrip(b"=").decode()
DROP_IN = "/etc/ssh/sshd_config.d/50-keys.conf"


def put(device: SimulatedSystem, params: Params, value: Value) -> None:
    """Make exactly this value true: at most one key of pi, and a command."""
    wanted = value if isinstance(value, tuple) else ()
    commands = [word.rpartition(":")[2] for word in wanted if word.startswith("*:command:")]
    text = "".join(f"AuthorizedKeysCommand {path}\nAuthorizedKeysCommandUser nobody\n" for path in commands)
    device.edit(DROP_IN, text.encode())
    listed = [word for word in wanted if word.startswith("pi:")]
    assert listed in ([], [f"pi:SHA256:{PRINT}"]), PRINT
    device.edit("/home/pi/.ssh/authorized_keys", b"ssh-ed25519 %s stranger\n" % KEY if listed else b"")
