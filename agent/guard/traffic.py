"""The egress ledger beside the kernel's count: what the courier's account sent, and what it was given to send.

Looked at with every sweep, and in sums of days for what leaks slowly. The numbers of a span lie in memory and, so that
a restart of the guard in order goes on with them, in NOTE, on a disk that no card bears and that ends with the device.
After a guard that ended without a word nobody knows what it had given out last: the count begins anew. The sums are in
the state. Rules: agent/core/egress.py and longrun.py.
"""

from collections.abc import Callable
from typing import Any

from agent.core import cbor, egress, longrun
from agent.core.egress import Count
from agent.core.errors import Failed, PrivetError
from agent.core.record import replace, values
from agent.core.warn import PrivacyWarning
from agent.guard import words
from agent.guard.books import Store
from agent.guard.trial import start_of
from agent.providers.linux.nft.counting import count, counted
from agent.system.door import System

NOTE = "/run/privet/egress"
DAYS, PART = "egress_days", "egress_part"  # in the state: the sums of days · the span that an orderly end cut short
SNMP = "/proc/net/snmp"
KIND = "egress_count"
Tell = Callable[[list[Any]], None]


class Traffic:
    """The count of one courier; `uid` is its account, `announce` tells the owner."""

    def __init__(self, system: System, store: Store, uid: int, announce: Callable[[PrivacyWarning], None]) -> None:
        self.system, self.store, self.uid, self.announce = system, store, uid, announce
        self.ended = 0
        self.flying: dict[int, int] = {}  # number of a message that the broker has not answered: its bytes
        self.counts: set[int] = set()  # those of them that were given out in this span
        self.why = "not looked at yet"
        self.anew = ""  # why the count began when it did
        self.count = self.noted()
        self.days = self.summed()
        self.slow = longrun.excess(self.days)

    def telling(self, tell: Tell) -> Tell:
        """Return a way to the courier on which what is given to it is counted."""
        self.flying, self.counts = {}, set()

        def counting(message: list[Any]) -> None:
            if message[0] == "publish":
                self.flying[message[1]] = len(message[3])
                self.counts.add(message[1])
                self.add(messages=1, payload=len(message[3]))
            elif message[0] == "enrol":
                self.add(asks=1)
            tell(message)

        return counting

    def heard(self, message: list[Any]) -> None:
        """Count what the courier said, once it has been believed."""
        kind, rest = message[0], message[1:]
        if kind == "sent":
            size = self.flying.pop(rest[0], 0)
            self.add(taken=size if rest[0] in self.counts else 0)
            self.counts.discard(rest[0])
        elif kind == "state":
            self.add(links=1)
            if rest[0] == "connected":  # what the broker did not answer is sent once more
                self.add(messages=len(self.flying), payload=sum(self.flying.values()))
        elif kind == "received":
            self.add(heard=1, received=len(rest[1]))

    def add(self, **more: int) -> None:
        """Note events."""
        if self.count is not None:
            self.count = replace(self.count, **{name: getattr(self.count, name) + more[name] for name in more})

    def turn(self, ended: int) -> None:
        """Look again after every look at everything (`ended` of them so far); say why where it cannot be told."""
        if ended == self.ended:
            return
        self.ended = ended
        try:
            self.look()
            self.why = ""
        except PrivetError as error:
            self.why = str(error)

    def look(self) -> None:
        """Compare, tell what nothing explains once in a span, and begin the next span when one is over."""
        if not self.uid:
            raise Failed("the courier has no account of its own; make one, or name it with --courier")
        clock, sent, again = self.system.clock(), counted(self.system), resent(self.system)
        if sent is None:
            count(self.system, self.uid)
            self.anew = "the kernel did not count before" if self.count is None else "the kernel's count was taken away"
            self.begin(0, again)
            return
        if self.count is None:
            self.anew = "the guard before ended without leaving its numbers"
            self.begin(sent, again)
            return
        self.count = egress.look(self.count, sent, again)
        if egress.blind(self.count):
            count(self.system, self.uid)
            self.anew = "the kernel had counted less than the broker has answered"
            self.begin(sent, again)
            raise Failed(f"{self.anew}; it is counted anew")
        unexplained = egress.excess(self.count, clock.uptime)
        if unexplained and not self.count.told:
            self.count = replace(self.count, told=1)
            self.announce(words.unexplained(self.count, unexplained, egress.explained(self.count, clock.uptime), clock))
        if egress.over(self.count, clock.uptime):
            self.store.append(KIND, self.standing())
            self.sum_up()
            self.anew = ""
            self.begin(sent, again)

    def sum_up(self) -> None:
        """Add the span that is over to the sums of days; tell what is too much in the long run, once while it is."""
        if self.count is not None:
            clock = self.system.clock()
            self.days = longrun.added(self.days, longrun.row(self.count, clock.uptime))
            self.store.put({DAYS: [list(row) for row in self.days]})
            before, self.slow = self.slow, longrun.excess(self.days)
            if self.slow[0] and not before[0]:
                self.announce(words.seeping(*self.slow, clock))

    def begin(self, sent: int, again: int) -> None:
        """Begin a span; what is on its way now was given out in the one before."""
        clock = self.system.clock()
        self.count = egress.begin(clock.wall, clock.uptime, sent, again)
        self.counts = set()

    def standing(self) -> dict[str, Any]:
        """Say how the count stands: explained, unexplained or unknown, and the numbers."""
        count = self.count
        if count is None:
            return {"state": "unknown", "why": self.why}
        uptime = self.system.clock().uptime
        known = egress.explained(count, uptime)
        over = egress.excess(count, uptime)
        state = "unexplained" if over or count.told or self.slow[0] else "unknown" if self.why else "explained"
        return {
            "state": state, "why": self.why or self.anew, "since": count.since, "sent": count.sent, "explained": known,
            "margin": egress.margin(known), "excess": over, "slow": list(self.slow),
            "parts": dict(egress.parts(count, uptime)),
        }  # fmt: skip

    def keep(self) -> None:
        """Leave the numbers to the next guard of this start of the device."""
        if self.count is not None:
            note = cbor.encode([start_of(self.system), list(values(self.count))])
            self.system.write(NOTE, note, 0o600)
            row = longrun.row(self.count, self.system.clock().uptime)
            self.store.put({PART: [start_of(self.system), list(row)]})

    def noted(self) -> Count | None:
        """Take up the numbers that the guard before left, once."""
        try:
            start, numbers = cbor.decode(self.system.read(NOTE, 4096), 4096)
            self.system.remove(NOTE)
            if not start or start != start_of(self.system) or any(type(number) is not int for number in numbers):
                return None
            return Count(**dict(zip(Count.__slots__, numbers, strict=True)))
        except (PrivetError, ValueError, TypeError):
            return None

    def summed(self) -> tuple[tuple[int, int, int], ...]:
        """Take up the sums of days, and the span that the last start of the device ended with."""
        kept, part = rows_of(self.store.get(DAYS)), self.store.get(PART)
        if isinstance(part, list) and len(part) == 2:
            if part[0] != start_of(self.system):
                for row in rows_of([part[1]]):
                    kept = longrun.added(kept, row)
            self.store.put({DAYS: [list(row) for row in kept], PART: []})
        return kept


def rows_of(kept: Any) -> tuple[tuple[int, int, int], ...]:
    """Read rows of three numbers; what is none counts as none."""
    rows = [tuple(row) for row in kept if isinstance(row, list)] if isinstance(kept, list) else []
    return tuple(row for row in rows if len(row) == 3 and all(type(number) is int for number in row))


def resent(system: System) -> int:
    """Return how many segments this device has sent again since its start, by the kernel's word (proc_net_snmp)."""
    rows = [line.split() for line in system.read(SNMP).decode("ascii", "replace").splitlines() if line[:4] == "Tcp:"]
    try:
        return int(dict(zip(rows[0], rows[1], strict=True))["RetransSegs"])
    except (IndexError, KeyError, ValueError):
        raise Failed(f"{SNMP} does not say how much was sent again; check the kernel") from None
