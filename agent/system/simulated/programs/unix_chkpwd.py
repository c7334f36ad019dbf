"""unix_chkpwd of Linux-PAM: tries one password, given on standard input and closed by a NUL, for one user.

Its exit codes are PAM's: 0 the password opens the account, 7 it does not, 9 there is no such account. With "nullok"
an account without a password is opened by any.
"""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system import crypt
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

SUCCESS, SYSTEM_ERROR, REFUSED, UNAVAILABLE = 0, 4, 7, 9


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Try the password."""
    if len(argv) != 3 or argv[2] not in ("nullok", "nonull"):
        return Outcome(code=SYSTEM_ERROR, out=b"", err=b"This binary is not designed for running in this way\n")
    return Outcome(code=tried(field(device, argv[1]), stdin.partition(b"\0")[0], argv[2] == "nullok"), out=b"", err=b"")


def tried(stored: bytes | None, password: bytes, nullok: bool) -> int:
    """Return the exit code for a stored field and a password."""
    if stored is None:
        return UNAVAILABLE
    if stored == b"":
        return SUCCESS if nullok else REFUSED
    return SUCCESS if crypt.matches(password.decode("utf-8", "surrogateescape"), stored.decode()) else REFUSED


def field(device: "SimulatedSystem", user: str) -> bytes | None:
    """Return the password field in force for a user."""
    stored = first(device, "/etc/passwd", user)
    return first(device, "/etc/shadow", user) if stored == b"x" else stored


def first(device: "SimulatedSystem", path: str, user: str) -> bytes | None:
    """Return the second field of the first line of a user."""
    try:
        lines = device.read(path).split(b"\n")
    except Missing:
        return None
    return next((line.split(b":")[1] for line in lines if line.startswith(user.encode() + b":")), None)
