"""The SSH servers that run now: who listens, how it was started, and whether it knows its files of today."""

from agent.core.errors import Missing, PrivetError
from agent.core.record import Record
from agent.providers.linux.sshd_option.commands import Command, command, content, names, option_of, vetted
from agent.providers.linux.sshd_option.words import statement
from agent.system.door import System

LISTENING = "0A"  # include/net/tcp_states.h
NOT_LISTENING = {b"-i", b"-R", b"-T", b"-t", b"-G", b"-V"}  # one connection, or a mere test of the configuration
RESCAN = 60  # seconds after which every process is looked at again, even if nobody new listens
Identity = tuple[int, str, str, str]
"""Process number, start time, place of its stack, sockets and time of its pid file: a server that loads its files
starts itself anew for it, and then the last two are others. Without CAP_SYS_PTRACE the kernel hides the place."""
PIDFILE = "/run/sshd.pid"


class Daemon(Record):
    """A running server: identity, how it was started, where it listens.

    `near`: it listens in our own network namespace, so its door can be tried. `starting`: it does not listen yet.
    """

    __slots__ = ("command", "identity", "near", "ports", "starting")
    identity: Identity
    command: Command
    ports: tuple[tuple[str, int], ...]
    near: bool
    starting: bool


def address(hexadecimal: str) -> str:
    """Write an address of /proc/net/tcp{,6} (32-bit groups in the machine's order) as one to connect to from here."""
    raw = bytes.fromhex(hexadecimal)
    blob = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    if not any(blob):
        return "127.0.0.1" if len(blob) == 4 else "::1"
    if len(blob) == 4:
        return ".".join(str(part) for part in blob)
    return ":".join("%x" % int.from_bytes(blob[i : i + 2]) for i in range(0, 16, 2))


def listeners(system: System, folder: str = "/proc/net") -> dict[str, tuple[str, int]]:
    """Return every listening TCP socket: inode → address and port."""
    found: dict[str, tuple[str, int]] = {}
    for name in ("tcp6", "tcp"):
        try:
            text = system.read("%s/%s" % (folder, name), 8 << 20).decode("ascii", "replace")
        except Missing:
            continue
        for row in text.split("\n")[1:]:
            words = row.split()
            if len(words) > 9 and words[3] == LISTENING:
                place, _, port = words[1].partition(":")
                found[words[9]] = (address(place), int(port, 16))
    return found


def link(system: System, path: str) -> str:
    """Return the text of a link, empty when it is not there."""
    try:
        return system.target(path)
    except PrivetError:
        return ""


def is_server(cmdline: bytes) -> bool:
    """Say whether a command line is that of a listening server (its title says so), or of one that is starting."""
    title = cmdline.replace(b"\0", b" ")
    first = title.split(b" ", 1)[0]
    return titled(title) or first.rpartition(b"/")[2] == b"sshd"


def identity(system: System, pid: str) -> tuple[int, str, str] | None:
    """Return number, start time and place of the stack of a process, or None when it is gone."""
    words = content(system, "/proc/%s/stat" % pid).decode("ascii", "replace").rpartition(")")[2].split()
    return (int(pid), words[19], words[25]) if len(words) > 25 else None


def started(cmdline: bytes, pid: str, exe: str) -> Command:
    """Read a server's command line from its process title, which has lost its quotes, or from its own words."""
    origin = "command line of process %s" % pid
    text = cmdline.rstrip(b"\0").decode("utf-8", "surrogateescape")
    title, marked, _ = text.partition(" [listener] ")
    if marked:
        found = command(title.partition(": ")[2].split(" "), origin, joined=True)
    else:
        found = command(text.split("\0"), origin)
    running = exe.removesuffix(" (deleted)")
    program = running if running.startswith("/") else found.program
    return Command(program=program, file=found.file, options=found.options, origin=origin)


def titled(cmdline: bytes) -> bool:
    """Say whether a server's process title says that it listens."""
    return b" [listener] " in cmdline


def written(system: System, pid: str) -> str:
    """Return when a server wrote its number to the usual file; empty when that file names another."""
    if content(system, PIDFILE).strip() != pid.encode():
        return ""
    try:
        return str(system.stat(PIDFILE).changed)
    except PrivetError:
        return ""


def ours(system: System, pid: str) -> bool:
    """Say whether a process is root's, and of this device itself.

    Anybody can call a process sshd: what it says must not decide which files we read and which programs we run. A
    process with a number in a second namespace belongs to a container, which has files of its own.
    """
    facts = {}
    for line in content(system, "/proc/%s/status" % pid).split(b"\n"):
        key, _, value = line.partition(b":")
        facts[key] = value.split()
    return set(facts.get(b"Uid", [b"?"])) == {b"0"} and len(facts.get(b"NSpid", [b""])) == 1


class Daemons:
    """Remembers which processes are servers, so that an unchanged device costs a few reads."""

    def __init__(self) -> None:
        self.sockets: dict[str, tuple[str, int]] = {}
        self.looked = -RESCAN
        self.listened = -1
        self.pids: tuple[str, ...] = ()
        self.known: dict[tuple[int, str, str], tuple[Command, tuple[str, ...]]] = {}

    def running(self, system: System, *, fresh: bool) -> tuple[Daemon, ...]:
        """Return the servers that run now in our own process namespace.

        Not `fresh`: who listens is asked once in a second only, which is dear where the kernel has many sockets.
        """
        now = system.clock().uptime
        sockets = self.sockets if not fresh and now == self.listened else listeners(system)
        self.listened = now
        if sockets.keys() != self.sockets.keys() or not 0 <= now - self.looked < RESCAN:
            self.pids = self.scan(system)
            self.looked = now
        self.sockets = sockets
        found = []
        seen: dict[tuple[int, str, str], tuple[Command, tuple[str, ...]]] = {}
        for pid in self.pids:
            who = identity(system, pid)
            if who is None:
                continue
            how, inodes = self.known.get(who, (None, ()))
            if how is None or not sockets.keys() >= {*inodes}:
                how, inodes = self.inspect(system, pid)
            ports = tuple(sorted({sockets[inode] for inode in inodes if inode in sockets}))
            near = bool(ports)
            if how.origin and not near:
                away = listeners(system, "/proc/%s/net" % pid)
                ports = tuple(sorted({away[inode] for inode in inodes if inode in away}))
            if ports:
                seen[who] = (how, inodes)
            if ports or how.origin:
                mark = " ".join((*inodes, written(system, pid)))
                starting = not ports and not titled(content(system, "/proc/%s/cmdline" % pid))
                found.append(Daemon(identity=(*who, mark), command=how, ports=ports, near=near, starting=starting))
        self.known = seen
        return tuple(found)

    def scan(self, system: System) -> tuple[str, ...]:
        """Look at every process."""
        found = []
        for pid in names(system, "/proc"):
            if pid.isdigit() and is_server(content(system, "/proc/%s/cmdline" % pid)) and ours(system, pid):
                found.append(pid)
        return tuple(found)

    def by_port(self, system: System, how: Command) -> tuple[str, ...]:
        """Return the sockets of a server whose open files the kernel hides from us, by the ports it is told to use."""
        options = [value for keyword, value in map(option_of, how.options) if keyword == "port"]
        lines = [statement(line) for line in content(system, how.file).decode("utf-8", "replace").split("\n")]
        wanted = options or [rest.strip() for keyword, rest in lines if keyword == "port"] or ["22"]
        return tuple(sorted(inode for inode, (_, port) in self.sockets.items() if str(port) in wanted))

    def inspect(self, system: System, pid: str) -> tuple[Command, tuple[str, ...]]:
        """Read how a server was started and which sockets it holds; no origin when it does not listen at all."""
        cmdline = content(system, "/proc/%s/cmdline" % pid)
        how = started(cmdline, pid, link(system, "/proc/%s/exe" % pid))
        folder = "/proc/%s/fd" % pid
        held = (link(system, "%s/%s" % (folder, number)) for number in names(system, folder))
        inodes = tuple(sorted(text[8:-1] for text in held if text.startswith("socket:[")))
        if titled(cmdline) and not inodes:
            inodes = self.by_port(system, how)
        listens = titled(cmdline) or (is_server(cmdline) and not NOT_LISTENING & set(cmdline.split(b"\0")))
        elsewhere = link(system, "/proc/%s/root" % pid) not in {"", "/"}
        file, origin = "" if elsewhere else how.file, how.origin if listens else ""
        return vetted(system, Command(program=how.program, file=file, options=how.options, origin=origin)), inodes
