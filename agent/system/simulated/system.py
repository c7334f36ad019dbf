"""The simulated device: the real door's file code over a disk in memory, programs that behave, clocks that obey."""

import importlib
import os
import pkgutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from agent.core.clock import Clock
from agent.core.errors import BadInput, Missing, Unreachable
from agent.system.calls import Calls
from agent.system.door import Outcome, Watch
from agent.system.durable import Files
from agent.system.simulated import programs
from agent.system.simulated.calls import CUT, DEATH, SimulatedCalls
from agent.system.simulated.disk import KEPT, LOST, TORN, Choice, Disk, Ended, PowerCut
from agent.system.simulated.hand import Hand
from agent.system.simulated.loopback import Loopback
from agent.system.simulated.notify import SimulatedNotify
from agent.system.watch import DirectoryWatch

SKELETON = (
    ("/boot", 0o755), ("/etc", 0o755), ("/home", 0o755), ("/root", 0o700), ("/usr/bin", 0o755), ("/usr/lib", 0o755),
    ("/usr/sbin", 0o755), ("/var/lib", 0o755), ("/var/log", 0o755),
)  # fmt: skip
IN_MEMORY = (("/dev", 0o755), ("/proc", 0o555), ("/run", 0o755), ("/sys", 0o555), ("/tmp", 0o1777))
FATES = {"all": LOST, "none": KEPT, "torn": TORN}


class Process:
    """A program that keeps running: number, arguments, owner, and a state that its module alone understands."""

    def __init__(self, pid: int, argv: tuple[str, ...], state: object, uid: int) -> None:
        self.pid = pid
        self.argv = argv
        self.state = state
        self.uid = uid

    def name(self) -> str:
        """Return the program's name."""
        return self.argv[0].rpartition("/")[2]

    def status(self) -> bytes:
        """Return what /proc/<pid>/status says of it."""
        return b"Name:\t%s\nPid:\t%d\nUid:\t%d\t%d\t%d\t%d\n" % (
            os.fsencode(self.name()[:15]),
            self.pid,
            self.uid,
            self.uid,
            self.uid,
            self.uid,
        )

    def __repr__(self) -> str:
        return "Process(%d, %s)" % (self.pid, self.name())


def silent(_sentence: str) -> None:
    """Announce nothing."""


def module_name(program: str) -> str:
    """Return the name of the module that simulates a program."""
    return program.replace("-", "_").replace(".", "_").lower()


@cache
def all_shipped() -> tuple[str, ...]:
    """Return the module names of the programs that ship."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(programs.__path__)))


def unchanged(calls: Calls) -> Calls:
    """Leave the calls as they are."""
    return calls


class SimulatedSystem(Loopback, Files):
    """One device in memory.

    `calls` may wrap the simulated kernel's calls (a twin without fsync, a fault at the k-th); `image` lays the files
    the device is made with before its first start; without `shipped` it has only the programs put into `programs`.
    `hand` changes files as other programs do (`edit` for short); `tick` lets time pass; `reboot` and `crash` start it
    anew; `count`, `kill_at` and `die_at` end work at its k-th call.
    """

    def __init__(
        self,
        calls: Callable[[Calls], Calls] = unchanged,
        image: "Callable[[SimulatedSystem], None] | None" = None,
        openat2: bool = True,
        announce: Callable[[str], None] = silent,
        entropy: Callable[[int], bytes] = os.urandom,
        shipped: bool = True,
    ) -> None:
        self._shipped = all_shipped() if shipped else ()
        self.disk = Disk()
        self.kernel_calls = SimulatedCalls(self.disk, entropy, openat2)
        super().__init__(calls(self.kernel_calls), "/", announce)
        self.hand = Hand(self.disk, self.kernel_calls)
        self.edit = self.hand.edit
        self.boot = 0
        self.wall = 1_767_225_600  # the first moment of 2026
        self.uptime = self.starts = 0  # starts of the device, as the kernel names them
        self.processes: list[Process] = []
        self.writing: list[tuple[str, str]] = []  # (directory, program) that writers() tells
        self.plugged: set[str] = set()  # hardware at it, which is there after each start (programs/start_elf.py)
        self.absent: set[str] = set()  # programs that are not installed
        self.programs: dict[str, Any] = {}  # programs of this device alone, by name: what a module has, they have
        self._last_pid = 300
        for path, mode in SKELETON:
            self.hand.directory(path, mode)
        for path, mode in IN_MEMORY:
            self.hand.directory(path, mode, volatile=True)
        self._each_program("install")
        if image is not None:
            image(self)
        self.disk.settle()
        self._start()

    # -- the door

    def run(self, argv: tuple[str, ...], stdin: bytes = b"", seconds: int = 20) -> Outcome:
        """Run the simulated program of this name, in no time; Unreachable when it is missing or given no time."""
        if not argv or not argv[0] or any("\0" in word for word in argv):
            raise BadInput("a program needs a name and arguments without NUL bytes; correct the step")
        self.kernel_calls.step()
        name = argv[0].rpartition("/")[2]
        program = self._program(name)
        if seconds < 1:
            raise Unreachable("%s did not end within %d seconds and was stopped; try again" % (name, seconds))
        if program is None:
            raise Unreachable("the program %s is not installed; install it" % argv[0])
        return programs.run(program, self, argv, stdin)

    def reload(self, unit: str, pidfile: str) -> None:
        """Ask the simulated systemd when it runs here (/run/systemd/system), else send SIGHUP to the process."""
        try:
            self.stat("/run/systemd/system")
        except Missing:
            self._hang_up(unit, pidfile)
            return
        if self.run(("systemctl", "try-reload-or-restart", unit)).code:
            raise Unreachable("systemd could not reload %s; see systemctl status %s" % (unit, unit))

    def entropy(self, count: int) -> bytes:
        """Return unpredictable bytes."""
        return self.calls.entropy(count)

    def clock(self) -> Clock:
        """Look at the clocks, which stand still unless `tick` moves them."""
        return Clock(wall=self.wall, boot=self.boot, uptime=self.uptime)

    def writers(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Name who is said to write in these directories (`writing`, set by the test or the story)."""
        return tuple(name for place, name in self.writing if place in directories)

    def watch(self, directories: Sequence[str]) -> Watch:
        """Watch directories."""
        return DirectoryWatch(SimulatedNotify(self.disk), directories)

    # -- time and power

    def tick(self, seconds: int) -> None:
        """Let time pass on both clocks. To set the wall clock alone, assign `wall`."""
        self.wall += seconds
        self.uptime += seconds

    def reboot(self) -> None:
        """Shut down in order and start again: everything reaches the disk, processes and memory are gone."""
        self.disk.settle()
        self.crash("none")

    def crash(self, lose: str | Choice = "all") -> None:
        """Cut the power and start again.

        What was not synced is lost ("all"), kept ("none"), torn (content half written, names lost) or as a function
        says of each `Pending` thing: KEPT, LOST or TORN.
        """
        if isinstance(lose, str):
            fate = FATES[lose]
            self.disk.cut(lambda _pending: fate)
        else:
            self.disk.cut(lose)
        self._start()

    def count(self, work: "Callable[[SimulatedSystem], object]") -> int:
        """Do work and return how many operating-system calls it made; its own exceptions pass through."""
        before = self.kernel_calls.made
        work(self)
        return self.kernel_calls.made - before

    def kill_at(self, k: int, work: "Callable[[SimulatedSystem], object]", lose: str | Choice = "all") -> bool:
        """Do work, but cut the power in place of its k-th call (1 is the first), then start the device again.

        Returns whether the cut came; False: the work ended before, and nothing was cut. Calls count whoever makes them:
        ours, a simulated program's, the hand's. PowerCut is a BaseException; `except Exception` does not see it, and
        every further call raises it again, so no clean-up code can do a thing.
        """
        return self._end_at(k, work, CUT, lambda: self.crash(lose))

    def die_at(self, k: int, work: "Callable[[SimulatedSystem], object]") -> bool:
        """Do work, but kill our process in place of its k-th call; the device goes on and nothing is lost or synced."""
        return self._end_at(k, work, DEATH, self.restart)

    def restart(self) -> None:
        """Be a new process: what this object knew of the disk is forgotten, nothing is open."""
        self.kernel_calls.restart()
        self.forget()

    # -- processes

    def start(self, argv: tuple[str, ...], state: object, uid: int = 0, pidfile: str = "") -> Process:
        """Start a simulated daemon; /proc shows it, and the pid file when one is named."""
        self._last_pid += 1
        process = Process(self._last_pid, argv, state, uid)
        self.processes.append(process)
        base = "/proc/%d/" % process.pid
        self.hand.produced(base + "cmdline", lambda: b"".join(os.fsencode(word) + b"\0" for word in process.argv))
        self.hand.produced(base + "comm", lambda: os.fsencode(process.name()[:15]) + b"\n")
        self.hand.produced(base + "status", process.status)
        if pidfile:
            self.edit(pidfile, b"%d\n" % process.pid)
        return process

    def stop(self, pid: int) -> None:
        """End a simulated daemon; one that is not there is fine."""
        self.processes = [process for process in self.processes if process.pid != pid]
        self.hand.discard("/proc/%d" % pid)

    def process(self, pid: int) -> Process | None:
        """Return a running process, or None."""
        return next((process for process in self.processes if process.pid == pid), None)

    def running(self, name: str) -> tuple[Process, ...]:
        """Return the running processes of a program, by its name."""
        return tuple(process for process in self.processes if process.name() == name)

    # -- within

    def _hang_up(self, unit: str, pidfile: str) -> None:
        """Send SIGHUP to the process in a pid file."""
        try:
            process = self.process(int(self.read(pidfile, 64)))
        except (Missing, ValueError):
            process = None
        if process is None:
            raise Unreachable("%s is not running: %s names no process; start it" % (unit, pidfile))
        program = self._program(process.name())
        if program is None or not hasattr(program, "reload"):
            raise Unreachable("the process in %s does not take a reload; start %s again" % (pidfile, unit))
        self.kernel_calls.step()
        program.reload(self, process)

    def _end_at(self, k: int, work: "Callable[[SimulatedSystem], object]", by: str, after: Callable[[], None]) -> bool:
        """Do work that ends at its k-th call."""
        calls = self.kernel_calls
        if k < 1:
            raise ValueError("calls are counted from 1")
        calls.end_by, calls.end_at = by, calls.made + k
        try:
            with suppress(PowerCut, Ended):
                work(self)
            ended = calls.made >= calls.end_at
        finally:
            calls.end_at = 0
        if ended:
            after()
        return ended

    def _start(self) -> None:
        """Start: memory is empty, no process runs, then each program does what it does at boot."""
        self.restart()
        self.processes = []
        self.uptime = 0
        self.boot = 0  # the guard, a new process, sets it again
        self.starts += 1
        self.hand.produced("/proc/sys/kernel/random/boot_id", lambda: b"%032d\n" % self.starts)
        self._each_program("boot")

    def _each_program(self, act: str) -> None:
        """Call this function of every installed program that has it, in the order of names."""
        for name in sorted({*self._shipped, *self.programs}):
            program = self._program(name)
            if program is not None and hasattr(program, act):
                getattr(program, act)(self)

    def _program(self, name: str) -> Any:
        """Return a program by its name: this device's own, else the shipped module; None when it is not installed."""
        word = module_name(name)
        if not word.isidentifier() or word in {module_name(gone) for gone in self.absent}:
            return None
        if name in self.programs:
            return self.programs[name]
        if word not in self._shipped:
            return None
        return importlib.import_module(programs.__name__ + "." + word)
