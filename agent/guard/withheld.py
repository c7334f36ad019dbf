"""How many readings did not leave, by field and reason: counted in memory, kept now and then, shown to the owner.

Weighed: a journal entry for each (an application that goes wrong would fill the card), or counts that lose at most an
hour when power goes. What is counted says nothing of a value, and goes with the consent to its purpose.
"""

from collections.abc import Callable, Iterable, Sequence

from agent.core.errors import PrivetError
from agent.core.policy import Policy
from agent.core.telemetry import Sample
from agent.core.withheld import NOBODY, SAID, refused
from agent.guard.books import Store
from agent.system.door import System

NAME = "withheld"
SPAN = 3600  # seconds between writes


class Withheld:
    """The counts since a moment."""

    def __init__(self, system: System, store: Store) -> None:
        self.system = system
        self.store = store
        kept = store.get(NAME) or {}
        self.since = int(kept.get("since", 0))
        self.counts: dict[tuple[str, str], int] = {(f, r): n for f, r, n in kept.get("rows", ())}
        self.changed = False
        self.wrote = -SPAN  # uptime

    def note(self, field: str, reason: str, count: int = 1) -> None:
        """Count readings of a field."""
        if not count:
            return
        self.since = self.since or self.system.clock().wall
        self.counts[field, reason] = self.counts.get((field, reason), 0) + count
        self.changed = True

    def refused(
        self, error: PrivetError, policy: Policy | None, samples: Sequence[Sample], agreed: Callable[[str], bool]
    ) -> None:
        """Count what made a request be refused."""
        for field, reason, count in refused(error, policy.fields if policy else (), samples, agreed):
            self.note(field, reason, count)

    def only(self, fields: Iterable[str]) -> None:
        """Forget the counts of all other fields: they are declared no more, or their purpose lost its consent."""
        kept = {NOBODY, *fields}
        left = {place: count for place, count in self.counts.items() if place[0] in kept}
        self.changed = self.changed or left != self.counts
        self.counts = left

    def keep(self, *, now: bool = False) -> None:
        """Write the counts, if it is time or `now`; on a disk that takes nothing they wait."""
        uptime = self.system.clock().uptime
        if not self.changed or (not now and uptime - self.wrote < SPAN):
            return
        self.wrote = uptime
        rows = [[field, reason, count] for (field, reason), count in sorted(self.counts.items())]
        try:
            self.store.put({NAME: {"since": self.since, "rows": rows}})
        except PrivetError:
            return
        self.changed = False

    def shown(self) -> dict[str, object]:
        """Say since when, and how many of which field for which reason, in words too."""
        rows = [
            {"field": field, "reason": reason, "count": count, "said": SAID.get(reason, reason)}
            for (field, reason), count in sorted(self.counts.items())
        ]
        return {"since": self.since, "rows": rows}
