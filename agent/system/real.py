"""This machine."""

import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from agent.core.clock import Clock
from agent.core.errors import Missing, PrivetError, Unreachable
from agent.system.beneath import on_stderr
from agent.system.calls import Calls
from agent.system.door import Outcome, Stat, Watch
from agent.system.durable import Files
from agent.system.hands import PROGRAMS, Hands, of_path
from agent.system.inotify import INotify
from agent.system.programs import run
from agent.system.talk import talk
from agent.system.watch import DirectoryWatch
from agent.system.writers import Writers

T = TypeVar("T")

HANGUP = 1 << (signal.SIGHUP - 1)


class RealSystem(Files):
    """The door to this machine. `root` is a directory prefix for the files, for tests; programs and clocks are real.

    With `hands`, what takes a power of root's that its caller does not hold is asked of them, where they are there.
    """

    def __init__(
        self,
        root: str = "/",
        calls: Calls | None = None,
        announce: Callable[[str], None] = on_stderr,
        hands: Hands | None = None,
    ) -> None:
        super().__init__(Calls() if calls is None else calls, root, announce)
        self._hands = hands
        self.boot = 0
        self._writers: Writers | None = None
        self._machine = self if root == "/" else Files(Calls())  # processes are real even under a prefix

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run a program with nothing inherited; Unreachable when it is missing or hangs, Failed when it floods us."""
        hand = self._hand(PROGRAMS.get(argv[0], "") if argv else "")
        if hand:
            code, out, err = self._ask(hand, "run", list(argv), stdin, seconds, seconds=seconds)
            return Outcome(code=code, out=out, err=err)
        return run(argv, stdin, seconds)

    def read(self, path: str, limit: int = 1 << 20) -> bytes:
        """Return a file's bytes; of processes, what only a hand may see."""
        hand = self._hand(of_path(path))
        content: bytes = self._ask(hand, "read", path)[0] if hand else super().read(path, limit)
        return content

    def entries(self, path: str) -> tuple[str, ...]:
        """Return the names in a directory; of processes, what only a hand may see."""
        hand = self._hand(of_path(path))
        return tuple(self._ask(hand, "entries", path)[0]) if hand else super().entries(path)

    def target(self, path: str) -> str:
        """Return the text of a link; of processes, what only a hand may see."""
        hand = self._hand(of_path(path))
        text: str = self._ask(hand, "target", path)[0] if hand else super().target(path)
        return text

    def targets(self, path: str) -> dict[str, str]:
        """Return what every link in a directory says; of processes, what only a hand may see."""
        hand = self._hand(of_path(path))
        found: dict[str, str] = self._ask(hand, "targets", path)[0] if hand else super().targets(path)
        return found

    def stat(self, path: str) -> Stat:
        """Look at a path itself; the screen of this device is there for a hand only."""
        hand = self._hand(of_path(path))
        return Stat(**self._ask(hand, "stat", path)[0]) if hand == "terminal" else super().stat(path)

    def kernel(self, path: str, content: bytes) -> None:
        """Write a value into a kernel file."""
        hand = self._hand("kernel")
        if hand:
            self._ask(hand, "kernel", path, content)
        else:
            super().kernel(path, content)

    def reload(self, unit: str, pidfile: str) -> None:
        """Ask systemd when it runs here, else send SIGHUP to the process in the file, if that process handles it."""
        try:
            self.stat("/run/systemd/system")
        except Missing:
            self._hang_up(unit, pidfile)
            return
        if self.run(("systemctl", "try-reload-or-restart", unit)).code:
            raise Unreachable("systemd could not reload %s; see systemctl status %s" % (unit, unit))

    def talk(self, port: int, conversation: Generator[bytes, bytes, T], seconds: int = 10) -> T:
        """Speak with whoever listens on a port of the loopback."""
        hand = self._hand("door")
        line = socket.socket(fileno=self._lend(hand, "connect", port, seconds)) if hand else None
        return talk(port, conversation, seconds, line)

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes from the kernel."""
        return os.urandom(count)

    def clock(self) -> Clock:
        """Look at the clocks; uptime counts suspend too."""
        return Clock(wall=int(time.time()), boot=self.boot, uptime=int(time.clock_gettime(time.CLOCK_BOOTTIME)))

    def writers(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Name the programs that wrote in watched directories lately, by fanotify; the first call begins to listen."""
        if self._writers is None:
            self._writers = Writers(self._begun())
        self._writers.watch([self.root.rstrip("/") + directory for directory in directories])
        return self._writers.names([self.root.rstrip("/") + directory for directory in directories])

    def watch(self, directories: Sequence[str]) -> Watch:
        """Watch directories by inotify."""
        return DirectoryWatch(INotify(), directories, self.root)

    def _begun(self) -> int | None:
        """Have a hand begin to listen who writes, where there is one; -1 when it cannot: then nothing is known."""
        hand = self._hand("kernel")
        try:
            return self._lend(hand, "writers") if hand else None
        except PrivetError:
            return -1

    def _hand(self, name: str) -> str:
        """Return the name of a hand that is there for us, else nothing."""
        return name if self._hands is not None and self._hands.there(name) else ""

    def _ask(self, hand: str, *request: object, seconds: float = 10) -> list[Any]:
        """Ask a hand."""
        return self._hands.ask(hand, *request, seconds=seconds) if self._hands is not None else []

    def _lend(self, hand: str, *request: object) -> int:
        """Have a hand open something."""
        return self._hands.lend(hand, *request) if self._hands is not None else -1

    def _hang_up(self, unit: str, pidfile: str) -> None:
        """Send SIGHUP to a daemon that handles it: a stale number must not kill a stranger."""
        try:
            number = int(self.read(pidfile, 64))
            status = self._machine.read("/proc/%d/status" % number).decode(errors="replace")
        except (Missing, ValueError):
            raise Unreachable("%s is not running: %s names no process; start it" % (unit, pidfile)) from None
        if number < 2 or not caught(status) & HANGUP:
            raise Unreachable("the process in %s does not take a reload; start %s again" % (pidfile, unit))
        try:
            os.kill(number, signal.SIGHUP)
        except OSError as error:
            raise Unreachable("%s did not take the reload; start it again" % unit) from error


def caught(status: str) -> int:
    """Return the bits of the signals a process handles, from the text of /proc/<pid>/status."""
    for line in status.splitlines():
        name, _, bits = line.partition(":")
        if name == "SigCgt":
            return int(bits, 16)
    return 0
