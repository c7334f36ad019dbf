"""A broker as a child process: what is the same whichever engine it is.

It dies with us. Run as root it becomes the engine's own user *before* it starts, in a directory that user owns, and
works by relative paths from there: it then needs no way through the directories above.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from agent.core.errors import BadInput, Failed, Missing, Unreachable, Unreadable
from agent.core.record import Record
from provisioning.fleet.safe import whole_file

STEWARD = "steward"  # the service that hands out policies (provisioning.fleet.push)
PLACES = "/usr/sbin:/usr/local/sbin"  # beside the PATH


class Setup(Record):
    """What a broker is told: its fleet, the address and port it listens on, the collectors (names without `service.`).

    `durable`: it keeps its queues and sessions on disk; without, a kill loses them.
    """

    __slots__ = ("address", "collectors", "durable", "fleet", "port")
    fleet: str
    address: str
    port: int
    collectors: tuple[str, ...]
    durable: bool


class Member(Record):
    """Which node of a cluster a broker is: its number from 1, and where each node is reached by the others, in order.

    `host:port`, or `host` alone where the engine finds the port itself. Routes speak TLS with the nodes' own
    certificates at both ends; a node listens for them at its own place in `nodes`.
    """

    __slots__ = ("nodes", "number")
    number: int
    nodes: tuple[str, ...]


def place_of(setup: Setup) -> tuple[str, int]:
    """Return address and port; BadInput when a configuration cannot hold them."""
    if not 0 < setup.port < 1 << 16:
        raise BadInput(f"{setup.port} is no port to listen on; use 1 to 65535")
    if not setup.address or any(c.isspace() or not c.isprintable() or c in "\"'" for c in setup.address):
        raise BadInput(f"{setup.address!r} is no address to listen on; give one, as 127.0.0.1")
    return setup.address, setup.port


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of this machine nobody listens on right now."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def owner(user: str, package: str) -> tuple[int, int]:
    """Return the uid and gid the broker will have: ours, or those of its own user when we are root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Missing(f"there is no user {user}; install the package {package}") from None
    return entry.pw_uid, entry.pw_gid


class Child:
    """One broker in `directory`; `with Engine(…) as broker:` starts and stops it. Its log is `directory`/broker.log.

    An engine says what it is called, which user it becomes, with which words and environment it starts, and how long
    that may take.
    """

    program = ""
    package = ""
    user = ""
    ready = 5.0  # seconds

    def __init__(self, directory: Path, setup: Setup, files: Mapping[str, bytes]) -> None:
        self.directory = directory
        self.setup = setup
        self.process: subprocess.Popen[bytes] | None = None
        for name, content in files.items():
            self.lay(name, content)
        self._give(directory)

    def words(self, program: str) -> list[str]:
        """Return the command that starts it."""
        return [program]

    def environment(self) -> dict[str, str] | None:
        """Return its environment; None: ours."""
        return None

    def lay(self, name: str, content: bytes) -> None:
        """Put a file where it will look, its own and nobody else's to read."""
        whole_file(self.directory / name, content)
        self._give(self.directory / name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id, 0 when it does not run."""
        return 0 if self.process is None else self.process.pid

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it and wait until it listens; Missing, or Failed with its last words."""
        if self.process is not None:
            return
        program = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:{PLACES}")
        if program is None or shutil.which("setpriv") is None:
            raise Missing(f"{self.program} or setpriv is not installed; install {self.package} and util-linux")
        _unused(self.setup, self.program)
        quiet = subprocess.DEVNULL
        # Output goes to the log it opens itself; what it says before that is kept in the pipe for `_last_words`.
        self.process = subprocess.Popen(
            [*self.as_its_user(), *self.words(program)],
            cwd=self.directory,
            env=self.environment(),
            stdin=quiet,
            stdout=quiet,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_ready()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing is written."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self.end(signal.SIGTERM)

    def restart(self) -> None:
        """Start it again after `kill` or `stop`, or stop and start it."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its kernel still answers, it does not. Returns when it stands still."""
        self.signal(signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"T":
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self.signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what it has logged so far."""
        try:
            return (self.directory / "broker.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _wait_ready(self) -> None:
        end = time.monotonic() + self.ready
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                raise Failed(f"{self.program} did not start: {self._last_words()}; correct that and start it again")
            if _listens(self.setup.address, self.setup.port):
                return
            time.sleep(0.005)
        self.kill()
        raise Unreachable(f"{self.program} does not answer on {self.setup.address} port {self.setup.port}; see its log")

    def _last_words(self) -> str:
        early = b"" if self.process is None or self.process.stderr is None else self.process.stderr.read()
        self._forget()
        lines = (early.decode(errors="replace") + self.log()).strip().splitlines()
        return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing")

    def signal(self, number: int) -> None:
        """Send it a signal; Failed when it does not run."""
        if self.process is None:
            raise Failed("the broker does not run; start it first")
        self.process.send_signal(number)

    def as_its_user(self) -> list[str]:
        """Return the words that make a program its user's, bound to our life."""
        argv = ["setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            uid, gid = owner(self.user, self.package)
            argv += ["--reuid", str(uid), "--regid", str(gid), "--clear-groups"]
        return [*argv, "--"]

    def end(self, number: int) -> None:
        """End it with a signal, and see that it has ended."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)  # a frozen one cannot hear
        try:
            self.process.wait(self.ready)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._forget()

    def _forget(self) -> None:
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()
        self.process = None

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            try:
                os.chown(path, *owner(self.user, self.package))
            except OSError as error:
                raise Unreadable(
                    f"{path} cannot be given to {self.user} ({error.strerror}); use a local disk"
                ) from None


def _unused(setup: Setup, program: str) -> None:
    """Make sure that who answers there later is our broker; Failed when somebody listens already."""
    with socket.socket(socket.AF_INET6 if ":" in setup.address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((setup.address, setup.port))
        except OSError as error:
            place = f"{setup.address} port {setup.port}"
            raise Failed(f"{program} cannot have {place} ({error.strerror}); choose another") from None


def _listens(address: str, port: int) -> bool:
    """Say whether something listens there: an engine does so only once its certificates and access list are read."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
