"""Debian's mosquitto with our configuration: mutual TLS, one identity per client, each confined to its own topics.

`Broker` runs it as a child process that dies with us. Run as root it becomes the user mosquitto *before* it starts, in
a directory that user owns, and works by relative paths from there: it then needs no way through the directories above
(mosquitto's own switch of user happens before it reads the certificates, and fails on them).
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from agent.core.errors import BadInput, Failed, Missing, Unreachable, Unreadable
from agent.core.record import Record
from provisioning.fleet.identity import SERVICE, Credential, checked
from provisioning.fleet.safe import whole_file

USER = "mosquitto"
READY = 5.0  # seconds
REVOKED = "revoked.pem"
MOST_PACKET = 336 * 1024  # bytes: the largest policy or frame we send, and its topic
# TLS 1.3 is preferred; what is left of 1.2 has ephemeral keys and authenticated encryption only. Our keys are P-256.
CIPHERS = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"
CIPHERS_13 = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"

FIXED = (
    "cafile clients.pem",
    "certfile broker.pem",
    "keyfile broker.key",
    "tls_version tlsv1.2",  # at least
    f"ciphers {CIPHERS}",
    f"ciphers_tls1.3 {CIPHERS_13}",
    "require_certificate true",
    "use_identity_as_username true",
    "use_username_as_clientid true",  # or a device could take over the session, and the queue, of another
    "allow_anonymous false",
    "acl_file access.conf",
    "max_connections -1",
    f"max_packet_size {MOST_PACKET}",
    "max_inflight_messages 100",
    "max_queued_messages 10000",
    f"max_queued_bytes {64 << 20}",
    "max_keepalive 300",
    "persistent_client_expiration 90d",
    "set_tcp_nodelay true",  # without it an acknowledgement takes 44 ms instead of 0.4
    "retain_available false",  # nothing stays at the broker but what a known client still has to fetch
    "sys_interval 0",  # no $SYS: who is connected, and how much, is nobody's business
    "connection_messages false",  # the log must not say who was awake when, and from which address
    "log_dest file broker.log",
    "log_type error",
    "log_type warning",
    "log_type notice",
    "log_timestamp_format %Y-%m-%dT%H:%M:%S",
)


class Setup(Record):
    """What a broker is told: its fleet, the address and port it listens on, the collectors (names without `service.`).

    `durable`: it keeps its queues and sessions on disk (written on every change); without, a kill loses them.
    """

    __slots__ = ("address", "collectors", "durable", "fleet", "port")
    fleet: str
    address: str
    port: int
    collectors: tuple[str, ...]
    durable: bool


def configuration(setup: Setup) -> str:
    """Return mosquitto.conf; BadInput for an address, port or fleet it cannot hold."""
    if not 0 < setup.port < 1 << 16:
        raise BadInput(f"{setup.port} is no port to listen on; use 1 to 65535")
    domain = "ipv6" if ":" in setup.address else "ipv4"
    if not setup.address or any(c.isspace() or not c.isprintable() for c in setup.address):
        raise BadInput(f"{setup.address!r} is no address to listen on; give one, as 127.0.0.1")
    lines = [f"listener {setup.port} {setup.address}", f"socket_domain {domain}", *FIXED]
    lines.append(f"persistence {'true' if setup.durable else 'false'}")
    if setup.durable:
        lines += ["persistence_location ./", "autosave_on_changes true", "autosave_interval 1"]
    return "\n".join(lines) + "\n"


def access(setup: Setup) -> str:
    """Return the access list: a device has its own five topics, a collector the other end of them, nobody else any."""
    top = f"privet/1/{checked(setup.fleet, 'fleet')}"
    own = f"{top}/%u"
    lines = [f"pattern write {own}/{leaf}" for leaf in ("up/+", "warning", "state")]
    lines += [f"pattern read {own}/{leaf}" for leaf in ("ack", "policy")]
    for name in setup.collectors:
        lines.append(f"user {SERVICE}{checked(name, 'collector')}")
        lines += [f"topic read {top}/+/{leaf}" for leaf in ("up/+", "warning", "state")]
        lines += [f"topic write {top}/+/{leaf}" for leaf in ("ack", "policy")]
    return "\n".join(lines) + "\n"


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port of this machine nobody listens on right now."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def owner() -> tuple[int, int]:
    """Return the uid and gid the broker will have: ours, or those of the user mosquitto when we are root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        raise Missing(f"there is no user {USER}; install the package mosquitto") from None
    return entry.pw_uid, entry.pw_gid


class Broker:
    """mosquitto as a child process in `directory`; `with Broker(…) as broker:` starts and stops it.

    The kernel kills it when the thread that started it ends. Its log is `directory`/broker.log. `crl` are the CRLs of
    all authorities in `client_anchors` (provisioning.fleet.revocation): whoever they name is refused. A broker that was
    started without them cannot learn them later.
    """

    def __init__(
        self, directory: Path, setup: Setup, credential: Credential, client_anchors: bytes, crl: bytes = b""
    ) -> None:
        self.directory = directory
        self.setup = setup
        self.process: subprocess.Popen[bytes] | None = None
        uid, gid = owner()
        files = {
            "mosquitto.conf": (configuration(setup) + (f"crlfile {REVOKED}\n" if crl else "")).encode(),
            "access.conf": access(setup).encode(),
            "clients.pem": client_anchors,
            "broker.pem": credential.certificate,
            "broker.key": credential.key,
            REVOKED: crl,
        }
        for name, content in files.items():
            whole_file(directory / name, content)
            self._give(directory / name, uid, gid)
        self._give(directory, uid, gid)

    def revoke(self, crl: bytes) -> None:
        """Let it read new CRLs without a restart; sessions that are open stay so (provisioning.broker.evict)."""
        whole_file(self.directory / REVOKED, crl)
        self._give(self.directory / REVOKED, *owner())
        self._signal(signal.SIGHUP)

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
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None or shutil.which("setpriv") is None:
            raise Missing("mosquitto or setpriv is not installed; install the packages mosquitto and util-linux")
        _unused(self.setup)
        argv = ["setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
        if os.geteuid() == 0:
            uid, gid = owner()
            argv += ["--reuid", str(uid), "--regid", str(gid), "--clear-groups"]
        quiet = subprocess.DEVNULL
        # Output goes to the log it opens itself; what it says before that is kept in the pipe for `_last_words`.
        self.process = subprocess.Popen(
            [*argv, "--", program, "-c", "mosquitto.conf"],
            cwd=self.directory,
            stdin=quiet,
            stdout=quiet,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_ready()

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing is written."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start it again after `kill` or `stop`, or stop and start it."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its kernel still answers, it does not. Returns when it stands still."""
        self._signal(signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b") ")[2][:1] != b"T":
            time.sleep(0.001)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return what it has logged so far."""
        try:
            return (self.directory / "broker.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _wait_ready(self) -> None:
        end = time.monotonic() + READY
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                raise Failed(f"mosquitto did not start: {self._last_words()}; correct that and start it again")
            if _listens(self.setup.address, self.setup.port):
                return
            time.sleep(0.005)
        self.kill()
        raise Unreachable(f"mosquitto does not answer on {self.setup.address} port {self.setup.port}; see its log")

    def _last_words(self) -> str:
        early = b"" if self.process is None or self.process.stderr is None else self.process.stderr.read()
        self._forget()
        lines = (early.decode(errors="replace") + self.log()).strip().splitlines()
        return next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else "it said nothing")

    def _signal(self, number: int) -> None:
        if self.process is None:
            raise Failed("the broker does not run; start it first")
        self.process.send_signal(number)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)  # a frozen one cannot hear
        try:
            self.process.wait(READY)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._forget()

    def _forget(self) -> None:
        if self.process is not None and self.process.stderr is not None:
            self.process.stderr.close()
        self.process = None

    @staticmethod
    def _give(path: Path, uid: int, gid: int) -> None:
        if os.geteuid() == 0:
            try:
                os.chown(path, uid, gid)
            except OSError as error:
                raise Unreadable(f"{path} cannot be given to {USER} ({error.strerror}); use a local disk") from None


def _unused(setup: Setup) -> None:
    """Make sure that who answers there later is our broker; Failed when somebody listens already."""
    with socket.socket(socket.AF_INET6 if ":" in setup.address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((setup.address, setup.port))
        except OSError as error:
            place = f"{setup.address} port {setup.port}"
            raise Failed(f"mosquitto cannot have {place} ({error.strerror}); choose another") from None


def _listens(address: str, port: int) -> bool:
    """Say whether something listens there: mosquitto does so only once its certificates and access list are read."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
