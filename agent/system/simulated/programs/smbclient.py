"""smbclient of Samba: `-p PORT -L HOST -A FILE` lists the shares as the user whom a file (standard input) names."""

from typing import TYPE_CHECKING

from agent.system.door import Outcome
from agent.system.simulated.programs.smbpasswd import hashed, rows

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Log in and list; the running smbd asks the database each time."""
    if argv[1:2] != ("-p",) or argv[3:] != ("-L", "127.0.0.1", "-A", "/dev/stdin"):
        return Outcome(code=1, out=b"", err=b"smbclient: unknown option\n")
    if not device.running("smbd") or argv[2] != "445":
        return refused(b"NT_STATUS_CONNECTION_REFUSED")
    given = dict(line.partition(b"=")[::2] for line in stdin.splitlines())
    row = rows(device).get(given.get(b"username", b"").decode())
    if row is None:
        return Outcome(code=0, out=b"\tIPC$ IPC\n", err=b"")  # map to guest = bad user, as Debian has it
    if row[3] != hashed(given.get(b"password", b"")):
        return refused(b"NT_STATUS_LOGON_FAILURE")
    return refused(b"NT_STATUS_ACCOUNT_DISABLED") if "D" in row[4] else Outcome(code=0, out=b"\tIPC$ IPC\n", err=b"")


def refused(status: bytes) -> Outcome:
    """Return the outcome of a refusal."""
    return Outcome(code=1, out=b"session setup failed: %s\n" % status, err=b"")
