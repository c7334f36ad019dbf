"""The journal's oldest entries go: those that nobody has a reason to keep any more, and those there is no room for.

How long there is a reason: as long as the policy lets the device keep a diary (`log.retention`), and as long as anybody
may keep what it sent, for the ledger of that is in here; never less than `log.least`. How old an entry is, is told by
the time that surely has come (`rules.least`), so a clock that runs years ahead makes nothing go. The size is looked at
each hour, the age once a day; what goes is said by an entry of its own and vouched for by the sealed end of the chain.
"""

from contextlib import suppress

from agent.core import journal
from agent.core.errors import PrivetError
from agent.guard.late import LateStore
from agent.guard.rules import Rules
from agent.system.door import System

HOUR, DAY = 3600, 86400
PAGE = 200  # entries that are looked at in one go


class Pruning:
    """One device's."""

    def __init__(self, system: System, store: LateStore, rules: Rules) -> None:
        self.system, self.store, self.rules = system, store, rules
        self.due = self.daily = HOUR  # uptime; a start has better things to do

    def span(self) -> tuple[int, int]:
        """Return for how many days an entry is kept, at least and at most."""
        baseline, policy = self.rules.baseline(), self.rules.policy
        declared = [purpose.retention_days for purpose in policy.purposes] if policy is not None else []
        ceiling, floor = baseline.get("log.retention"), baseline.get("log.least")
        longest = max([ceiling if isinstance(ceiling, int) else 7, *declared])
        return min(floor if isinstance(floor, int) else 1, longest), longest

    def turn(self) -> None:
        """Let go of what is due; on a disk that takes nothing, later."""
        clock = self.system.clock()
        if clock.uptime < self.due or self.store.cause:
            return
        self.due = clock.uptime + HOUR
        with suppress(PrivetError):
            kept, sizes = self.store.store.sizes(PAGE)
            if kept <= journal.MOST and clock.uptime < self.daily:
                return
            walls = [entry.wall for entry in self.store.entries(0, PAGE)]
            facts = list(zip(walls, sizes, strict=True))
            count = journal.overdue(facts, kept, self.rules.least(clock).wall, *self.span())
            if count:
                self.store.store.prune(count)
            if count == PAGE:
                self.due = clock.uptime  # and there may be more
            else:
                self.daily = clock.uptime + DAY
