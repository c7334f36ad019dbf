"""ssh-keygen: makes key files; `-A` makes the host keys that are missing, `-y` shows the public half of a private key.

The files have the shape of real ones. The private half proves nothing outside the simulated device.
"""

import base64
from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

HOST_KEY_KINDS = ("rsa", "ecdsa", "ed25519")
WORDS = {"rsa": b"ssh-rsa", "ecdsa": b"ecdsa-sha2-nistp256", "ed25519": b"ssh-ed25519"}
HEAD, FOOT = b"-----BEGIN OPENSSH PRIVATE KEY-----\n", b"\n-----END OPENSSH PRIVATE KEY-----\n"


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Make keys."""
    values = dict(zip(argv[1:], (*argv[2:], ""), strict=False))
    if "-A" in argv:
        for kind in HOST_KEY_KINDS:
            path = "/etc/ssh/ssh_host_%s_key" % kind
            if not there(device, path):
                make(device, path, "root@device", kind)
        return Outcome(code=0, out=b"", err=b"")
    path = values.get("-f", "")
    if not path:
        return Outcome(code=1, out=b"", err=b"no file given\n")
    if "-y" in argv:
        public = public_half(device, path)
        return Outcome(code=0 if public else 255, out=public + b"\n" if public else b"", err=b"")
    if there(device, path):
        return Outcome(code=1, out=b"%s already exists.\n" % path.encode(), err=b"")
    make(device, path, values.get("-C", ""), values.get("-t", "ed25519"))
    return Outcome(code=0, out=b"", err=b"")


def make(device: "SimulatedSystem", path: str, comment: str, kind: str = "ed25519") -> None:
    """Make one pair."""
    word = WORDS.get(kind, WORDS["ed25519"])
    blob = len(word).to_bytes(4) + word + b"\0\0\0\x20" + device.entropy(32)
    secret = base64.b64encode(blob + device.entropy(32))
    device.edit(path, HEAD + secret + FOOT, mode=0o600)
    public = word + b" " + base64.b64encode(blob)
    device.edit(path + ".pub", public + (b" " + comment.encode() if comment else b"") + b"\n")


def public_half(device: "SimulatedSystem", path: str) -> bytes:
    """Return type and public key that belong to a private key in a file; nothing when it is none of ours."""
    try:
        text = device.read(path)
        blob = base64.b64decode(text.removeprefix(HEAD).removesuffix(FOOT), validate=True)[:-32]
    except (PrivetError, ValueError):
        return b""
    length = int.from_bytes(blob[:4])
    return blob[4 : 4 + length] + b" " + base64.b64encode(blob) if blob[4 : 4 + length] in WORDS.values() else b""


def there(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a path exists."""
    try:
        device.stat(path)
    except PrivetError:
        return False
    return True
