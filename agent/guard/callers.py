"""Who is calling: from the kernel's word about a socket's other end to a name and a role."""

from agent.core.errors import PrivetError
from agent.core.record import Record
from agent.core.role import Grant, role_of
from agent.system.door import System


class Caller(Record):
    """Who asks: a name for the journal, and a role."""

    __slots__ = ("name", "role")
    name: str
    role: str


def table(system: System, path: str) -> list[list[str]]:
    """Return the rows of passwd(5) or group(5), none when the file cannot be read."""
    try:
        lines = system.read(path).decode("utf-8", "replace").splitlines()
    except PrivetError:
        return []
    return [line.split(":") for line in lines if line.count(":") >= 3]


def caller(system: System, uid: int, gid: int, grants: tuple[Grant, ...], now: int) -> Caller:
    """Name a caller and find the role; groups are those of the account, not of the process."""
    names = [row[0] for row in table(system, "/etc/passwd") if row[2] == str(uid)]
    name = names[0] if names else f"uid {uid}"
    principals = [f"uid:{uid}", f"gid:{gid}"]
    principals.extend(f"gid:{row[2]}" for row in table(system, "/etc/group") if name in row[3].split(","))
    return Caller(name=name, role=role_of(tuple(principals), grants, now))
