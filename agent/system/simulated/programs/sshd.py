"""The server of OpenSSH 9.2 as Debian 12 ships it: tests its configuration, or runs with the one it has loaded.

`sshd -T [-C …]`, `sshd -t`, and the daemon itself, which keeps what it loaded until it is told to load again.
"""

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError
from agent.system.door import Outcome
from agent.system.simulated.openssh import MAIN, OPTIONS, Broken, Configuration, Connection
from agent.system.simulated.programs.ssh_keygen import public_half
from agent.system.simulated.sockets import lines_of
from agent.system.simulated.unit_files import conditions_hold
from agent.system.simulated.unit_files import lines as unit_lines

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

PROGRAM = "/usr/sbin/sshd"
UNIT = "/usr/lib/systemd/system/ssh.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/ssh.service"
DEFAULTS = "/etc/default/ssh"
ROOM = "/run/sshd"
HOST_KEYS = tuple(f"/etc/ssh/ssh_host_{kind}_key" for kind in ("rsa", "ecdsa", "ed25519"))
LOADING = 10**8  # nanoseconds from reading the files to writing the number
SHIPPED = b"""Include /etc/ssh/sshd_config.d/*.conf
KbdInteractiveAuthentication no
UsePAM yes
X11Forwarding yes
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""
UNIT_TEXT = b"""[Unit]
Description=OpenBSD Secure Shell server

[Service]
EnvironmentFile=-/etc/default/ssh
ExecStart=/usr/sbin/sshd -D $SSHD_OPTS
Type=notify
RuntimeDirectory=sshd

[Install]
WantedBy=multi-user.target
Alias=sshd.service
"""


class Loaded:
    """What a running server knows: how it was started, its configuration, its sockets (inode, port), its host keys."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self.argv = argv
        self.configuration = Configuration(nothing, nowhere)
        self.sockets: tuple[tuple[int, int], ...] = ()
        self.image = 0
        self.keys: tuple[bytes, ...] = ()  # the public halves that it answers with


def nothing(path: str) -> bytes:
    """Hold no file."""
    raise Missing("%s is not there; name a file" % path)


def nowhere(_path: str) -> tuple[str, ...]:
    """Hold no directory."""
    return ()


def install(device: "SimulatedSystem") -> None:
    """Lay down the package's files; host keys come with the image or by ssh-keygen -A."""
    device.edit(PROGRAM, b"\x7fELF sshd", mode=0o755)
    device.edit(MAIN, SHIPPED)
    device.hand.directory("/etc/ssh/sshd_config.d")
    device.edit(DEFAULTS, b"SSHD_OPTS=\n")
    device.edit(UNIT, UNIT_TEXT)
    device.hand.link(WANTED, UNIT)
    for path in HOST_KEYS:
        device.edit(
            path, b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + device.entropy(16).hex().encode() + b"\n", mode=0o600
        )
        device.edit(path + ".pub", b"ssh-ed25519 " + device.entropy(16).hex().encode() + b" factory\n")


def boot(device: "SimulatedSystem") -> None:
    """Show the sockets of all servers in /proc, and start the server if its unit is enabled."""
    device.hand.produced("/proc/net/tcp", lambda: sockets(device))
    with suppress(PrivetError):
        device.target(WANTED)
        if not conditions_hold(device, unit_lines(device, "ssh.service")):
            return
        words = device.read(DEFAULTS).decode().partition("SSHD_OPTS=")[2].split("\n")[0].strip("\"'").split()
        device.hand.directory(ROOM)
        launch(device, (PROGRAM, "-D", *words))


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Test the configuration, tell what is effective, or start."""
    main, options, specification, acts, keys = arguments(argv)
    try:
        found = loaded(device, main, options)
        ready(device, keys)
    except Broken as error:
        return Outcome(code=255, out=b"", err=str(error).encode() + b"\n")
    if "T" in acts:
        connection = dict(pair.partition("=")[::2] for pair in specification.split(",")) if specification else None
        effective = found.effective(connection, groups(device, (connection or {}).get("user", "")))
        text = "".join(f"{name} {effective[name]}\n" for name in OPTIONS)
        return Outcome(code=0, out=text.encode(), err=b"")
    if "t" not in acts:
        launch(device, argv)
    return Outcome(code=0, out=b"", err=b"")


def ready(device: "SimulatedSystem", keys: list[str]) -> None:
    """Be Broken when the server has no host key, or nowhere to keep its unprivileged half."""
    if not keys and not any(there(device, path) for path in HOST_KEYS):
        raise Broken("sshd: no hostkeys available -- exiting.")
    if not there(device, ROOM):
        raise Broken("Missing privilege separation directory: " + ROOM)


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Start itself anew, as SIGHUP makes it; with a configuration it does not accept, the server is gone."""
    state = process.state
    if isinstance(state, Loaded):
        try:
            load(device, process, state)
        except Broken:
            device.stop(process.pid)


def launch(device: "SimulatedSystem", argv: tuple[str, ...]) -> "Process | None":
    """Start the daemon; None when it does not accept its configuration."""
    state = Loaded(argv)
    process = device.start((PROGRAM, *argv[1:]), state)
    base = "/proc/%d" % process.pid
    title = "sshd: %s [listener] 0 of 10-100 startups" % " ".join(argv)
    device.hand.produced(base + "/cmdline", lambda: title.encode() + b"\0")
    device.hand.produced(base + "/stat", lambda: status(process, state))
    device.hand.link(base + "/exe", PROGRAM)
    device.hand.link(base + "/root", "/")
    try:
        load(device, process, state)
    except Broken:
        device.stop(process.pid)
        return None
    return process


def load(device: "SimulatedSystem", process: "Process", state: Loaded) -> None:
    """Take up the configuration of this moment, listen, and write the process number to its file."""
    main, options, _, _, _ = arguments(state.argv)
    found = loaded(device, main, options)
    effective = found.effective(None)
    given = [argument for flag, argument in zip(state.argv, state.argv[1:], strict=False) if flag == "-p"]
    state.configuration = found
    state.keys = tuple(key for key in (answered(device, path) for path in HOST_KEYS) if key)
    state.image += 1
    ports = [int(port) for port in (given or [effective["port"]])]
    state.sockets = tuple((process.pid * 1000 + state.image * 10 + i, port) for i, port in enumerate(ports))
    device.hand.discard("/proc/%d/fd" % process.pid)
    for number, (inode, _) in enumerate(state.sockets, 3):
        device.hand.link("/proc/%d/fd/%d" % (process.pid, number), "socket:[%d]" % inode)
    if effective["pidfile"] != "none":
        device.disk.wait(LOADING)
        device.edit(effective["pidfile"], b"%d\n" % process.pid)


def answered(device: "SimulatedSystem", path: str) -> bytes:
    """Return type and key of a host key: by its private half, else by the file beside it; nothing when not there."""
    if not there(device, path):
        return b""
    return public_half(device, path) or b" ".join(device.read(path + ".pub").split()[:2])


def loaded(device: "SimulatedSystem", main: str, options: list[str]) -> Configuration:
    """Load the configuration that is on the disk now."""
    found = Configuration(device.read, lambda path: listing(device, path))
    found.load(main, options)
    return found


def arguments(argv: tuple[str, ...]) -> tuple[str, list[str], str, set[str], list[str]]:
    """Read the command line: main file, -o options, -C specification, flags without a value, host keys."""
    main, options, specification, flags, keys = MAIN, list[str](), "", set[str](), list[str]()
    words = list(argv[1:])
    while words:
        word = words.pop(0)
        letter, rest = word[1:2], word[2:]
        if letter not in set("CEbcfghkopu"):
            flags.update(word[1:])
            continue
        value = rest or (words.pop(0) if words else "")
        if letter == "f":
            main = value
        elif letter == "o":
            options.append(value)
        elif letter == "C":
            specification = value
        elif letter == "h":
            keys.append(value)
    return main, options, specification, flags, keys


def there(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a path exists."""
    try:
        device.stat(path)
    except PrivetError:
        return False
    return True


def listing(device: "SimulatedSystem", path: str) -> tuple[str, ...]:
    """Return the names in a directory, none when it is not there."""
    try:
        return device.entries(path)
    except PrivetError:
        return ()


def groups(device: "SimulatedSystem", user: str) -> tuple[str, ...]:
    """Return the groups of a user."""
    own = [line.split(":")[3] for line in rows(device, "/etc/passwd") if line.startswith(user + ":")] if user else []
    return tuple(
        row[0]
        for row in (line.split(":") for line in rows(device, "/etc/group"))
        if len(row) > 3 and (row[2] in own or (own and user in row[3].split(",")))
    )


def rows(device: "SimulatedSystem", path: str) -> list[str]:
    """Return the lines of a table."""
    try:
        return device.read(path).decode("utf-8", "surrogateescape").splitlines()
    except PrivetError:
        return []


def effective(process: "Process", connection: Connection, of: tuple[str, ...]) -> dict[str, str]:
    """Return what a running server does with a connection of a user who is in these groups."""
    state = process.state
    return state.configuration.effective(connection, of) if isinstance(state, Loaded) else {}


def status(process: "Process", state: Loaded) -> bytes:
    """Return what /proc/<pid>/stat says: start time is field 22, place of the stack field 28."""
    fields = ["S", *["0"] * 18, str(process.pid * 7), *["0"] * 5, str(140_000_000_000_000 + state.image), *["0"] * 24]
    return ("%d (sshd) %s\n" % (process.pid, " ".join(fields))).encode()


def sockets(device: "SimulatedSystem") -> bytes:
    """Return /proc/net/tcp."""
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    for process in device.processes:
        if isinstance(process.state, Loaded):
            lines += [
                "   0: 00000000:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100"
                % (port, inode)
                for inode, port in process.state.sockets
            ]
    lines += lines_of(device, "tcp")
    return "\n".join(lines).encode() + b"\n"
