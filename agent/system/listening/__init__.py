"""What waits for somebody on the network: every socket that others can reach, in every network, and whose.

A socket is one word, `protocol/port@scope:program`. Scopes: `any`, `link` (neighbours on the same wire only), `netns`
(a network namespace of its own: a container). What only this device itself can reach (loopback) is no word. `raw` and
`packet` sockets count too: their port is the protocol they hear. A datagram socket on one of the kernel's passing ports
is `dynamic`, so that a restart is no news; it, and a raw one, count once their program has run for a minute, which a
question to a name server or a ping does not. A program that waits on more ports than anybody reads is one word, with
`many` for the port: how many there are, whoever starts it decides.
"""

from weakref import WeakKeyDictionary

from agent.core.errors import Missing, PrivetError, Unreadable
from agent.core.record import Record, replace
from agent.system.door import System
from agent.system.listening.owners import Owner, owners, systemd_names
from agent.system.listening.sockets import Socket, passing, tables

MINUTE = 60
KERNEL = Owner(pid=0, began="", program="kernel", unit="")  # held by no program
MANY = 64  # ports of one program that are named one by one
TICKS = 100  # of /proc/<pid>/stat in a second, on every Linux


class Listener(Record):
    """One word, and what it is made of: protocol, port, who reaches it, program, process, unit."""

    __slots__ = ("pid", "port", "program", "protocol", "scope", "unit", "word")
    word: str
    protocol: str
    port: int
    scope: str
    program: str
    pid: int
    unit: str


class _Memory:
    """Whose the sockets were that were seen before: an unchanged device costs no look at open files."""

    def __init__(self) -> None:
        self.owners: dict[int, Owner] = {}


_memories: WeakKeyDictionary[System, _Memory] = WeakKeyDictionary()


def listeners(system: System) -> tuple[Listener, ...]:
    """Return everything that waits for others; Unreadable when it cannot be told whose something is."""
    memory = _memories.setdefault(system, _Memory())
    ports = passing(system)
    found = [(s, outside) for folder, outside in namespaces(system) for s in tables(system, folder)]
    inodes = {s.inode: s.uid for s, _ in found if s.inode}
    memory.owners = {inode: owner for inode, owner in memory.owners.items() if inode in inodes and same(system, owner)}
    lacking = {inode: uid for inode, uid in inodes.items() if inode not in memory.owners}
    if lacking:
        memory.owners.update({**dict.fromkeys(lacking, KERNEL), **owners(system, lacking)})
    now = system.clock().uptime
    made: dict[str, Listener] = {}
    for socket, outside in found:
        owner = memory.owners.get(socket.inode, KERNEL)
        fleeting = socket.protocol in {"raw", "packet"} or (socket.protocol == "udp" and socket.port in ports)
        if fleeting and owner.pid and owner.began.isdigit() and now - int(owner.began) // TICKS < MINUTE:
            continue
        one = listener(socket, owner, outside=outside, dynamic=socket.protocol == "udp" and socket.port in ports)
        made.setdefault(one.word, one)
    made = gathered(made)
    named = systemd_names(system, [one for one in made.values() if one.program == "systemd"])
    return tuple(sorted((named.get(one.word, one) for one in made.values()), key=lambda one: one.word))


def gathered(made: dict[str, Listener]) -> dict[str, Listener]:
    """Make one word of the many of a program."""
    groups: dict[tuple[str, str, str], list[Listener]] = {}
    for one in made.values():
        groups.setdefault((one.protocol, one.scope, one.program), []).append(one)
    found = {}
    for (protocol, scope, program), some in groups.items():
        word = f"{protocol}/many@{scope}:{program}"
        few = len(some) <= MANY
        found.update({one.word: one for one in some} if few else {word: replace(some[0], word=word, port=0)})
    return found


def listener(socket: Socket, owner: Owner, *, outside: bool, dynamic: bool) -> Listener:
    """Write one socket as a word."""
    scope = "netns" if outside else socket.scope
    port = "dynamic" if dynamic and owner.pid else str(socket.port)
    return Listener(
        word=f"{socket.protocol}/{port}@{scope}:{owner.program}",
        protocol=socket.protocol,
        port=socket.port,
        scope=scope,
        program=owner.program,
        pid=owner.pid,
        unit=owner.unit,
    )


def same(system: System, owner: Owner) -> bool:
    """Say whether a process is still the one that was seen."""
    return owner.began == began(system, owner.pid)


def began(system: System, pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty when it is gone or does not say."""
    try:
        words = system.read(f"/proc/{pid}/stat", 4096).decode("ascii", "replace").rpartition(")")[2].split()
    except PrivetError:
        return ""
    return words[19] if len(words) > 19 else ""


def namespaces(system: System) -> list[tuple[str, bool]]:
    """Return where the kernel's tables of each network lie, and whether that is another network than our own."""
    try:
        own = system.target("/proc/self/ns/net")
    except Missing:
        return [("/proc/net", False)]
    found = {own: ("/proc/net", False)}
    for name in system.entries("/proc"):
        if name.isdigit():
            try:
                found.setdefault(system.target(f"/proc/{name}/ns/net"), (f"/proc/{name}/net", True))
            except Unreadable as error:
                if not gone(system, name):
                    raise Unreadable(f"the network of process {name} cannot be seen; run it as root") from error
            except Missing:  # ended meanwhile
                continue
    return list(found.values())


def gone(system: System, pid: str) -> bool:
    """Say whether a process has ended: what is left of it then has no files and no network."""
    try:
        state = system.read(f"/proc/{pid}/stat", 4096).decode("ascii", "replace").rpartition(")")[2].split()[:1]
    except PrivetError:
        return True
    return state in (["Z"], ["X"])


__all__ = ["Listener", "listeners"]
