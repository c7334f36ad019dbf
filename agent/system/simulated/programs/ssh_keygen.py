"""ssh-keygen: makes Ed25519 key files; `-A` makes the host keys that are missing.

The files have the shape of real ones. The private half proves nothing outside the simulated device.
"""

import base64
from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

HOST_KEY_KINDS = ("rsa", "ecdsa", "ed25519")


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Make keys."""
    values = dict(zip(argv[1:], (*argv[2:], ""), strict=False))
    if "-A" in argv:
        for kind in HOST_KEY_KINDS:
            path = "/etc/ssh/ssh_host_%s_key" % kind
            if not there(device, path):
                make(device, path, "root@device")
        return Outcome(code=0, out=b"", err=b"")
    path = values.get("-f", "")
    if not path:
        return Outcome(code=1, out=b"", err=b"no file given\n")
    if there(device, path):
        return Outcome(code=1, out=b"%s already exists.\n" % path.encode(), err=b"")
    make(device, path, values.get("-C", ""))
    return Outcome(code=0, out=b"", err=b"")


def make(device: "SimulatedSystem", path: str, comment: str) -> None:
    """Make one pair."""
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + device.entropy(32)
    public = b"ssh-ed25519 " + base64.b64encode(blob)
    secret = base64.b64encode(blob + device.entropy(32))
    device.edit(
        path,
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret + b"\n-----END OPENSSH PRIVATE KEY-----\n",
        mode=0o600,
    )
    device.edit(path + ".pub", public + (b" " + comment.encode() if comment else b"") + b"\n")


def there(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a path exists."""
    try:
        device.stat(path)
    except PrivetError:
        return False
    return True
