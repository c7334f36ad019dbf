"""smbpasswd of Samba: `-L -s USER` takes a password twice from standard input, `-L -x USER` takes a user out.

The database is a table of lines here, as `pdbedit -L -w` prints it; like the real one it is durable when a
program ends, and a user who gets a password is enabled by that.
"""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system import crypt
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PASSDB = "/var/lib/samba/private/passdb.tdb"


def rows(device: "SimulatedSystem") -> dict[str, list[str]]:
    """Return the users and their fields."""
    try:
        lines = device.read(PASSDB).decode().splitlines()
    except Missing:
        return {}
    return {line.split(":")[0]: line.split(":") for line in lines}


def kept(device: "SimulatedSystem", table: dict[str, list[str]]) -> None:
    """Commit the database."""
    device.edit(PASSDB, "".join(":".join(row) + "\n" for row in table.values()).encode(), mode=0o600, synced=True)
    device.sync(PASSDB.rpartition("/")[0])


def hashed(password: bytes) -> str:
    """Return the NT hash of a password."""
    return crypt.hashed(password.decode(), "$3$$")[4:].upper()


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Change a user."""
    table = rows(device)
    if argv[1:2] != ("-L",) or len(argv) != 4 or argv[3] not in table:
        return Outcome(code=1, out=b"", err=b"Failed to find entry for user.\n")
    if argv[2] == "-x":
        del table[argv[3]]
    elif argv[2] == "-s" and len(set(stdin.splitlines())) == 1:
        row = table[argv[3]]
        row[3:5] = hashed(stdin.splitlines()[0]), "[U          ]"
    else:
        return Outcome(code=1, out=b"", err=b"Mismatch - password unchanged.\n")
    kept(device, table)
    return Outcome(code=0, out=b"", err=b"")
