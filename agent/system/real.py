"""This machine."""

import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from agent.core.clock import Clock
from agent.core.errors import Missing, Unreachable
from agent.system.beneath import on_stderr
from agent.system.calls import Calls
from agent.system.door import Outcome, Watch
from agent.system.durable import Files
from agent.system.inotify import INotify
from agent.system.programs import run
from agent.system.talk import talk
from agent.system.watch import DirectoryWatch
from agent.system.writers import Writers

T = TypeVar("T")

HANGUP = 1 << (signal.SIGHUP - 1)


class RealSystem(Files):
    """The door to this machine. `root` is a directory prefix for the files, for tests; programs and clocks are real."""

    def __init__(
        self, root: str = "/", calls: Calls | None = None, announce: Callable[[str], None] = on_stderr
    ) -> None:
        super().__init__(Calls() if calls is None else calls, root, announce)
        self.boot = 0
        self._writers: Writers | None = None
        self._machine = self if root == "/" else Files(Calls())  # processes are real even under a prefix

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run a program with nothing inherited; Unreachable when it is missing or hangs, Failed when it floods us."""
        return run(argv, stdin, seconds)

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
        return talk(port, conversation, seconds)

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes from the kernel."""
        return os.urandom(count)

    def clock(self) -> Clock:
        """Look at the clocks; uptime counts suspend too."""
        return Clock(wall=int(time.time()), boot=self.boot, uptime=int(time.clock_gettime(time.CLOCK_BOOTTIME)))

    def writers(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Name the programs that wrote in watched directories lately, by fanotify; the first call begins to listen."""
        if self._writers is None:
            self._writers = Writers()
        self._writers.watch([self.root.rstrip("/") + directory for directory in directories])
        return self._writers.names([self.root.rstrip("/") + directory for directory in directories])

    def watch(self, directories: Sequence[str]) -> Watch:
        """Watch directories by inotify."""
        return DirectoryWatch(INotify(), directories, self.root)

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
