"""What is remembered between two looks at one device, so that an unchanged device costs no run of sshd.

Answers are kept for as long as the look they were given for stays the same. Which content a running server has loaded
is kept for as long as that server runs: then no clock is needed to know that its files have changed since.
"""

import time
from collections.abc import Mapping
from contextlib import suppress

from agent.core.assess import Reading
from agent.core.errors import Failed, PrivetError
from agent.core.record import Value
from agent.providers.linux.sshd_option import door
from agent.providers.linux.sshd_option.commands import content
from agent.providers.linux.sshd_option.contexts import Account
from agent.providers.linux.sshd_option.daemons import Daemon, Daemons, Identity
from agent.providers.linux.sshd_option.tree import Tree
from agent.system.door import System

TICKS = 100  # of /proc/<pid>/stat in a second, on every Linux
AGAIN = 60  # seconds after which what could not be found out is tried again
RETIMED = 3  # runs of sshd that time it once more


class Memory:
    """The memory about one device."""

    def __init__(self) -> None:
        self.running = Daemons()
        self.loaded: dict[Identity, str] = {}
        self.before: dict[tuple[Identity, tuple[str, ...], str], Value] = {}
        self.key = ""
        self.settled = ""
        self.uptime = 0
        self.takes = 0  # nanoseconds that sshd took here to read its files, when it was quickest
        self.directories: set[str] = set()
        self.folders: set[str] = set()  # where keys are listed
        self.readings: dict[str, Reading] = {}
        self.answers: dict[tuple[str, ...], dict[str, str] | str] = {}
        self.offers: dict[tuple[Identity, str, int], frozenset[str] | None] = {}
        self.entries: dict[Identity, bool | None] = {}

    def turn(self, key: str, uptime: int) -> None:
        """Forget the answers when the device has changed, or when an open question is old enough to be asked again."""
        unknown = any(r.live is None or r.kept is None for r in self.readings.values())
        if key != self.key or (unknown and not 0 <= uptime - self.uptime < AGAIN):
            self.key, self.uptime = key, uptime
            for memory in (self.readings, self.answers, self.offers, self.entries):
                memory.clear()

    def asked(self, system: System, argv: tuple[str, ...]) -> dict[str, str]:
        """Run sshd in its test mode, once; Failed when it does not accept its configuration."""
        if argv not in self.answers:
            try:
                self.answers[argv] = self.timed(system, argv)
            except PrivetError as error:
                self.answers[argv] = str(error)
        found = self.answers[argv]
        if isinstance(found, str):
            raise Failed(found)
        return found

    def timed(self, system: System, argv: tuple[str, ...]) -> dict[str, str]:
        """Run sshd in its test mode and note how long it took when it was quickest."""
        begun = time.monotonic_ns()
        found = ask(system, argv)
        took = time.monotonic_ns() - begun
        self.takes = min(self.takes or took, took)
        return found

    def offered(self, system: System, daemon: Daemon, user: str, most: int) -> frozenset[str] | None:
        """Try a door without showing anything, once."""
        case = (daemon.identity, user, most)
        if case not in self.offers:
            self.offers[case] = door.offered(system, daemon, user, most)
        return self.offers[case]

    def entered(self, system: System, daemon: Daemon, root: Account, answers: Mapping[str, str]) -> bool | None:
        """Try to log in as root, once."""
        if daemon.identity not in self.entries:
            self.entries[daemon.identity] = door.enters(system, daemon, root, answers)
        return self.entries[daemon.identity]

    def current(self, system: System, daemon: Daemon, tree: Tree, pidfile: str) -> bool:
        """Say whether a running server has loaded its configuration as it is now.

        What was seen before decides; at first sight, whether everything it is made of is older than the process itself,
        or than the file that the server writes its number to each time it has loaded. It writes that a moment after it
        has read its files: a change within as long as it takes to read them was read or was not.
        """
        known = self.loaded.get(daemon.identity)
        if known is not None:
            return known == tree.digest
        number, start = written(system, pidfile, daemon.identity[0]), born(system, daemon)
        if 0 < number < start:  # the clock was set since then: its start and its files do not compare
            start = 0
        if number - self.takes <= tree.newest < number and self.answers:
            # A busy device may have kept sshd waiting when it was timed; what decides is how long reading takes.
            with suppress(PrivetError):
                for _ in range(RETIMED):
                    self.timed(system, next(iter(self.answers)))
        if tree.newest < max(number - self.takes, start):
            self.loaded[daemon.identity] = tree.digest
            return True
        return False

    def remember(self, daemon: Daemon, keywords: tuple[str, ...], people: str, value: Value) -> None:
        """Remember what a server does that has read its files: it goes on doing so until it reads them again."""
        self.before[daemon.identity, keywords, people] = value

    def remembered(self, daemon: Daemon, keywords: tuple[str, ...], people: str) -> "Value | None":
        """Return what a server was known to do; None when it is not known, or when the accounts are others now."""
        return self.before.get((daemon.identity, keywords, people))

    def forget(self, daemons: tuple[Daemon, ...], directories: set[str]) -> None:
        """Forget servers that are gone, and where configuration was read from before."""
        self.directories = directories
        there = {daemon.identity for daemon in daemons}
        self.before = {case: value for case, value in self.before.items() if case[0] in there}
        self.loaded = {who: digest for who, digest in self.loaded.items() if who in there}


def written(system: System, pidfile: str, pid: int) -> int:
    """Return when a server wrote its number to its file (ns since 1970), 0 when another or nobody did."""
    if not pidfile.startswith("/") or content(system, pidfile).strip() != str(pid).encode():
        return 0
    try:
        return system.stat(pidfile).changed
    except PrivetError:
        return 0


def born(system: System, daemon: Daemon) -> int:
    """Return the earliest time (ns since 1970) at which a process can have started; 0 when the kernel is silent."""
    if not content(system, "/proc/stat") or not daemon.identity[1].isdigit():
        return 0
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # /proc/stat has it by the second only
    return booted + int(daemon.identity[1]) * (10**9 // TICKS)


def ask(system: System, argv: tuple[str, ...]) -> dict[str, str]:
    """Run sshd in its test mode, with what it needs on a device where it has never run."""
    outcome = system.run(argv)
    if outcome.code and b"privilege separation directory" in outcome.err:
        system.make_directory("/run/sshd", 0o755)
        outcome = system.run(argv)
    if outcome.code and b"no hostkeys available" in outcome.err:
        with door.passing_key(system) as (private, _):
            outcome = system.run((*argv, "-h", private))
            if outcome.code and b"privilege separation directory" in outcome.err:
                system.make_directory("/run/sshd", 0o755)
                outcome = system.run((*argv, "-h", private))
    if outcome.code:
        lines = outcome.err.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise Failed("%s does not accept its configuration (%s); correct that" % (argv[0], lines[-1][:200]))
    return door.told(outcome.out)
