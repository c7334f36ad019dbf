"""Knocking at this device's own SSH server over loopback, as its owner would from afar."""

from agent.core.errors import Unreachable
from agent.core.record import Record
from agent.system.door import System

PROGRAM = "/usr/sbin/sshd"
QUIET = (
    "BatchMode=yes", "ConnectTimeout=5", "GlobalKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "IdentityAgent=none",
    "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "NumberOfPasswordPrompts=0",
)  # fmt: skip
ACCEPTED = "Server accepts key"
REFUSED = "Permission denied ("


class Server(Record):
    """What the files say of the server: port, where keys are listed, and who root is to it."""

    __slots__ = ("keys", "port", "root")
    port: str
    keys: tuple[str, ...]
    root: str


def server(system: System) -> Server | None:
    """Return how the server is set up, None when there is none that would start."""
    try:
        outcome = system.run((PROGRAM, "-T"))
    except Unreachable:
        return None
    if outcome.code != 0:
        return None
    table: dict[str, str] = {}
    for line in outcome.out.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        table.setdefault(key.lower(), value)
    files = tuple(table.get("authorizedkeysfile", ".ssh/authorized_keys").split())
    return Server(port=table.get("port", "22"), keys=files, root=table.get("permitrootlogin", ""))


def lets_root_in(system: System) -> bool:
    """Say whether root may sign in with a key: the server takes a key's offer all the same, and refuses afterwards."""
    outcome = system.run((PROGRAM, "-T", "-C", "user=root,host=localhost,addr=127.0.0.1"))
    said = outcome.out.decode("utf-8", "replace").lower().splitlines()
    return any(f"permitrootlogin {word}" in said for word in ("yes", "without-password", "prohibit-password"))


def knock(system: System, user: str, port: str, method: str, *words: str) -> str:
    """Come to the server as a user, by one method; return what the client said about it."""
    options = [word for option in (*QUIET, f"PreferredAuthentications={method}") for word in ("-o", option)]
    argv = ("ssh", "-v", "-F", "none", *options, *words, "-p", port, "-l", user, "127.0.0.1", "true")
    return system.run(argv).err.decode("utf-8", "replace")


def answers(said: str) -> bool:
    """Say whether a server was there: it accepted or refused, rather than nobody answering."""
    return ACCEPTED in said or REFUSED in said
