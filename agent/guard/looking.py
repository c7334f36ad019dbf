"""The look at everything, a setting at a time: whoever asks meanwhile is answered between two of them.

Each part is a whole cycle of its own (look, judge, restore, warn) by the policy and the leaves that hold then, so no
setting is judged by two of them. What is begun while a look is under way begins anew, with what was left first, so
nothing is put off for ever. What an event may have moved comes before that, the settings of one kind together, for
they share what they read; one part of each in turn, so neither keeps the other waiting.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from agent.core.assess import OK
from agent.core.record import Value
from agent.core.trial import access

if TYPE_CHECKING:
    from agent.guard.guard import Guard

SWEEP = 300  # seconds between looks at everything
DAY = 86400


class Looking:
    """What one guard has still to look at."""

    def __init__(self, guard: "Guard") -> None:
        self.guard = guard
        self.soon: dict[str, None] = {}  # what events may have moved
        self.left: dict[str, bool] = {}  # what is left of everything, and whether it is loose only by a new policy
        self.waiting: list[Callable[[], None]] = []  # told at the end
        self.began = self.since = -SWEEP  # when the latest began, and when it began or ended: a pause follows each
        self.full: int | None = None  # when the latest began that came to its end
        self.ended = 0  # how many came to their end

    def due(self) -> int:
        """Return the seconds until everything is looked at again."""
        return max(0, self.since + SWEEP - self.guard.system.clock().uptime)

    def over(self) -> bool:
        """Say whether nothing is left to look at."""
        return not self.soon and not self.left

    def begin(self, asked: Collection[str] = ()) -> None:
        """Begin to look at everything; what a new policy `asked` for is restored as ever, but no news to anybody."""
        names = self.guard.posture.names()
        first = [name for name in self.left if name in names]
        quiet = {name for name in first if self.left[name]} | set(asked)
        self.left = {name: name in quiet for name in (*first, *names)}
        self.soon = {name: None for name in self.soon if name in names and name not in quiet}
        self.began = self.since = self.guard.system.clock().uptime
        self.guard.lacking = ""

    def rebase(self, baseline: dict[str, Value]) -> None:
        """Take up a new policy, and begin to look at everything by it."""
        before = self.guard.posture.baseline
        self.guard.posture.rebase(baseline)
        self.begin([name for name in baseline if before.get(name) != baseline[name]])

    def moved(self, names: tuple[str, ...]) -> None:
        """Look at these first; one that a new policy asks for has its turn anyway."""
        self.soon.update(dict.fromkeys(name for name in names if not self.left.get(name)))

    def step(self) -> None:
        """Look at one kind of what events may have moved, then at one more of everything."""
        if self.soon:
            settings = self.guard.settings
            kind = settings[next(iter(self.soon))].provider
            names = tuple(name for name in self.soon if settings[name].provider == kind)
            for name in names:
                del self.soon[name]
            self.guard.cycle(names)
        if self.left:
            name = next(iter(self.left))
            self.part((name,), self.left.pop(name))
            if not self.left:
                self.end()

    def whole(self) -> None:
        """Look at everything in one piece, without a word: the first boot, when nobody is served yet."""
        self.left = {}
        self.part(self.guard.posture.names(), True)
        self.end()

    def part(self, names: tuple[str, ...], quiet: bool) -> None:
        """Look at a part of everything; what stands as it should is remembered for changes of access."""
        for finding in self.guard.cycle(names, quiet):
            if finding.status == OK and access(self.guard.settings[finding.setting]):
                self.guard.proving.remember(finding.setting, finding.wanted)

    def end(self) -> None:
        """Everything was looked at: the time floor moves forward, and who waited for it is told."""
        self.full, self.since, self.ended = self.began, self.guard.system.clock().uptime, self.ended + 1
        wall, store = self.guard.system.clock().wall, self.guard.books.store
        if wall - (store.get("floor") or 0) > DAY:
            store.put({"floor": wall})
        waiting, self.waiting = self.waiting, []
        for tell in waiting:
            tell()
