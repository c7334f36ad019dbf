"""From one look at everything SSH to readings: what the files say, what the running servers do, and why."""

from agent.core.assess import Reading, absent, unread
from agent.core.errors import PrivetError, Unreadable
from agent.core.order import ANY
from agent.core.record import Value
from agent.providers.linux.sshd_option.commands import Command, option_of
from agent.providers.linux.sshd_option.contexts import contexts
from agent.providers.linux.sshd_option.criteria import Connection, holds, read_criteria
from agent.providers.linux.sshd_option.daemons import Daemon
from agent.providers.linux.sshd_option.kinds import Kind
from agent.providers.linux.sshd_option.look import Look
from agent.providers.linux.sshd_option.memory import Memory
from agent.providers.linux.sshd_option.tree import Line, Tree
from agent.providers.linux.sshd_option.words import arguments
from agent.system.door import System

MOST_TRIED = 4  # users whose door is tried, and places of a server that knows other files than today's


class Verdict:
    """The join of everything found in one place, and the first reason for its looseness."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.value: Value = kind.strictest()
        self.cause = ""
        self.unknown = ""

    def add(self, value: Value, cause: str) -> None:
        """Join one more piece of evidence."""
        lattice = self.kind.lattice()
        if not lattice.leq(value, self.value):
            self.cause = cause if not self.cause or not isinstance(value, tuple) else "%s; %s" % (self.cause, cause)
            self.value = lattice.join(self.value, value)

    def merge(self, other: "Verdict") -> None:
        """Join the evidence of another."""
        self.add(other.value, other.cause)
        self.missing(other.unknown)

    def missing(self, why: str) -> None:
        """Note that a piece of evidence could not be had."""
        self.unknown = self.unknown or why

    def known(self) -> Value | None:
        """Return the join, or None when a missing piece could make it looser."""
        certain = not self.unknown or self.value == ANY or self.value == self.kind.loosest()
        return self.value if certain else None


class Judge:
    """Judges options by one look; answers of sshd are remembered for as long as the look is."""

    def __init__(self, system: System, look: Look, memory: Memory) -> None:
        self.system = system
        self.look = look
        self.memory = memory

    def reading(self, kind: Kind) -> Reading:
        """Judge one option."""
        if not self.look.installed and not self.look.daemons:
            return absent("no SSH server is installed")
        kept, live = self.kept(kind), self.live(kind)
        causes = [v.cause or v.unknown for v in (kept, live)]
        if kept.unknown and live.unknown == kept.unknown:
            causes = causes[:1]
        cause = "; ".join(dict.fromkeys(c for c in causes if c))
        now, later = live.known(), kept.known()
        if now is None or later is None:
            return unread(cause, live=now, kept=later)
        return Reading(live=now, kept=later, cause=cause, absent=False)

    def kept(self, kind: Kind) -> Verdict:
        """Join what every way of starting a server would make of the files."""
        verdict = Verdict(kind)
        for way in self.look.ways:
            self.by_files(kind, way, verdict)
        return verdict

    def live(self, kind: Kind) -> Verdict:
        """Join what every running server does; one that does not know its files of today is judged by its door."""
        verdict = Verdict(kind)
        if self.look.per_connection:
            for way in self.look.ways:
                self.by_files(kind, way, verdict)
        for daemon in self.look.daemons:
            mine = Verdict(kind)
            if self.current(daemon):
                self.by_files(kind, daemon.command, mine)
                if mine.value == kind.strictest():
                    self.by_door(kind, daemon, mine, proven=True)
                if not mine.unknown:
                    self.memory.remember(daemon, kind.keywords, self.look.people, mine.value)
            else:
                self.before(kind, daemon, mine)
            verdict.merge(mine)
        return verdict

    def before(self, kind: Kind, daemon: Daemon, verdict: Verdict) -> None:
        """Judge a server that has not read its files since they changed: by what it did before, else by its door."""
        known = self.memory.remembered(daemon, kind.keywords, self.look.people)
        if known is None:
            self.by_door(kind, daemon, verdict, proven=False)
            return
        verdict.add(known, "%s still does what its files said before they changed" % named(daemon))

    def by_files(self, kind: Kind, way: Command, verdict: Verdict) -> None:
        """Ask sshd what it makes of its files, for every connection that the Match lines can tell apart."""
        try:
            tree = self.tree(way)
            cases: tuple[Connection | None, ...] = (None,)
            ports = tuple(str(port) for daemon in self.look.daemons for _, port in daemon.ports)
            if tree.matches:
                cases = contexts(tree.matches, self.look.accounts, ports, kind.powerful) or (None,)
            for case in cases:
                value = kind.value(self.answers(way, case))
                verdict.add(value, self.blame(kind, way, tree, case, value))
        except PrivetError as error:
            verdict.missing(str(error))

    def by_door(self, kind: Kind, daemon: Daemon, verdict: Verdict, *, proven: bool) -> None:
        """Try the door; what is open is open, what looks shut is only believed of a server that knows its files."""
        if self.opens(kind, daemon, proven=proven):
            why = "" if proven else " has not read its files since they changed, and"
            verdict.add(kind.loosest(), "%s%s was tried and found open" % (named(daemon), why))
        elif not proven:
            verdict.missing("nothing shows that %s has read its files since they changed; reload it" % named(daemon))

    def opens(self, kind: Kind, daemon: Daemon, *, proven: bool) -> bool:
        """Say whether a door was seen open; of a server that knows its files one look for one person confirms them."""
        if kind.method == "key":
            root = next((a for a in self.look.accounts if a.uid == 0), None)
            if proven or root is None:
                return False
            return self.memory.entered(self.system, daemon, root, self.defaults()) is True
        if not kind.method:
            return False
        users, places = (self.users()[-1:], 1) if proven else (self.users(), MOST_TRIED)
        offers = [self.memory.offered(self.system, daemon, user, places) for user in users]
        return any(kind.method in offer for offer in offers if offer is not None)

    def users(self) -> tuple[str, ...]:
        """Return the users whose door is tried: root, and the accounts of people."""
        people = [a.name for a in self.look.accounts if a.uid == 0 or (a.uid >= 1000 and a.may_log_in())]
        return tuple(people[:MOST_TRIED])

    def defaults(self) -> dict[str, str]:
        """Return what the files say of root, for finding the file of its keys."""
        for way in self.look.ways:
            try:
                return self.answers(way, ROOT if self.tree(way).matches else None)
            except PrivetError:
                continue
        return {}

    def current(self, daemon: Daemon) -> bool:
        """Say whether a running server has read its files as they are today."""
        try:
            tree = self.tree(daemon.command)
            pidfile = self.answers(daemon.command, ROOT if tree.matches else None).get("pidfile", "none")
        except PrivetError:
            return False
        return self.memory.current(self.system, daemon, tree, pidfile)

    def tree(self, way: Command) -> Tree:
        """Return the files a server reads; Unreadable says why they could not be read."""
        if not way.file:
            raise Unreadable("it is not known which files the server of the %s reads" % way.origin)
        found = self.look.trees[way.file]
        if isinstance(found, str):
            raise Unreadable(found)
        return found

    def answers(self, way: Command, case: Connection | None) -> dict[str, str]:
        """Ask sshd for its effective configuration; Failed when it does not accept its files."""
        argv = (*way.asking(), *(() if case is None else ("-C", case.specification())))
        return self.memory.asked(self.system, argv)

    def blame(self, kind: Kind, way: Command, tree: Tree, case: Connection | None, value: Value) -> str:
        """Say in plain words where a value comes from; empty when it is the strictest."""
        if value == kind.strictest():
            return ""
        causes, unset = list[str](), list[str]()
        for keyword in kind.keywords:
            if kind.is_open(keyword.lower(), value):
                found = origin(way, tree, case, keyword)
                (causes if found else unset).append(found or keyword)
        if unset:
            causes.append("%s set nowhere, which the server leaves open by itself" % " ".join(unset))
        return "; ".join(dict.fromkeys(causes))


ROOT = Connection(
    user="root",
    groups=("root",),
    host="localhost",
    address="127.0.0.1",
    localaddress="127.0.0.1",
    localport="22",
    rdomain="none",
)


def origin(way: Command, tree: Tree, case: Connection | None, keyword: str) -> str:
    """Name what decides a keyword: a Match line, the command line, a line of a file; empty for the server's default."""
    mine = [line for line in tree.lines if line.keyword == keyword.lower()]
    for line in mine:
        if line.under and all(met(tree, number, case or ROOT) for number in line.under):
            return "%s under 'Match %s' %s" % (said(line, keyword), tree.matches[line.under[-1]].strip(), at(line))
    for option in way.options:
        if option_of(option)[0] == keyword.lower():
            return "-o %s in the %s" % (option, way.origin)
    for line in mine:
        if not line.under:
            return "%s %s" % (said(line, keyword), at(line))
    return ""


def met(tree: Tree, number: int, case: Connection) -> bool:
    """Say whether a Match line holds for a connection."""
    return all(holds(criterion, case) for criterion in read_criteria(tree.matches[number]))


def said(line: Line, keyword: str) -> str:
    """Quote a line."""
    return "'%s %s'" % (keyword, " ".join(arguments(line.rest))[:60])


def named(daemon: Daemon) -> str:
    """Name a running server."""
    return "the running SSH server (process %d)" % daemon.identity[0]


def at(line: Line) -> str:
    """Say where a line stands."""
    return "in line %d of %s" % (line.number, line.file)
