"""The guard: look, judge, restore, warn; level-triggered, so it compares with the policy at every turn."""

from agent import VERSION
from agent.core.assess import ABSENT, LOOSENED, OK, UNKNOWN, Finding
from agent.core.clock import Clock
from agent.core.contest import Contest, fresh, restored, stopped
from agent.core.errors import PrivetError
from agent.core.plan import Change, plan
from agent.core.record import Value, replace
from agent.core.setting import Setting
from agent.core.trial import access
from agent.core.waiver import Waiver, advance
from agent.core.warn import PrivacyWarning, current, edges
from agent.guard import words
from agent.guard.awaited import SOON
from agent.guard.books import Books, Journal
from agent.guard.enforcing import Enforcing
from agent.guard.late import LateOriginals, LateStore
from agent.guard.posture import Posture
from agent.guard.proving import Proving
from agent.guard.rules import Rules
from agent.guard.telling import tell
from agent.guard.trial import start_of
from agent.guard.words import noted, settled
from agent.system.door import System
from agent.system.parts import Post
from agent.system.writers import ENDED

SWEEP = 300  # seconds between looks at everything
ADVANCE = 60  # seconds between notes of the time that waivers have left


class Guard:
    """Everything the root process decides and does about settings; sockets and telemetry stand around it."""

    def __init__(
        self, system: System, books: Books, late: LateStore, rules: Rules, settings: dict[str, Setting], post: Post
    ) -> None:
        self.system = system
        self.books = books
        self.late = late
        self.originals = LateOriginals()
        self.lacking = ""  # why a file could not be written at the latest look
        self.roomless = False  # whether the owner was told
        self.rules = rules
        self.settings = settings
        self.post = post
        self.posture = Posture(system, settings, {})
        self.proving = Proving(system, late, settings)
        self.contests: dict[str, Contest] = {}
        self.tried: set[str] = set()
        self.left_alone: set[str] = set()
        self.swept, self.sweeps, self.noted = -SWEEP, 0, 0
        self.enforcing = Enforcing(self)
        self.failures: dict[str, str] = {}  # by setting: what was journaled last

    def start(self, quiet: bool = False) -> None:
        """Take up the policy, charge the waivers for the restart, and bring everything to where it should be.

        `quiet` is for the first boot: what a factory left open is closed and journaled, not warned about one by one.
        """
        clock = self.system.clock()
        self.books.begin(start_of(self.system), clock, {"version": VERSION})
        shed = self.books.shed(self.settings)
        self.posture = self.proving.posture = Posture(self.system, self.settings, self.rules.baseline())
        self.noted = clock.uptime
        self.system.writers(sorted(self.posture.places))
        self.proving.take_up()
        self.proving.first = quiet
        self.sweep(quiet)
        self.proving.first = False
        self.tell_unknown(shed)
        if all(f.status in (OK, ABSENT) for f in self.posture.findings.values() if access(self.settings[f.setting])):
            self.proving.live_with()

    def tell_unknown(self, shed: tuple[str, ...]) -> None:
        """Say once, after another version of Privet was installed, of which settings this one knows nothing."""
        names = list(self.rules.unknown)
        new = names != (self.books.store.get("unknown") or [])
        for name in sorted({*shed, *(names if new else ())}):
            self.announce(words.other_version(name, self.settings.get(name), self.system.clock()))
        if new:  # after that: power that goes meanwhile has it told twice, never not at all
            self.books.store.put({"unknown": names})

    def sweep(self, quiet: bool = False) -> None:
        """Look at every setting; also where the time that surely has come moves forward."""
        clock = self.system.clock()
        self.swept, self.sweeps = clock.uptime, self.sweeps + 1
        self.lacking = ""
        for finding in self.cycle(self.posture.names(), quiet):
            if finding.status == OK and access(self.settings[finding.setting]):
                self.proving.remember(finding.setting, finding.wanted)
        self.rules.keep_time(clock)

    def due(self) -> int:
        """Return the seconds until something must be looked at without any event."""
        clock = self.system.clock()
        times = [self.swept + SWEEP - clock.uptime, self.proving.due()]
        if self.posture.awaited.since:
            times.append(SOON)
        if self.late.cause:
            times.append(self.late.left())
        if self.books.waivers:
            times.append(self.noted + ADVANCE - clock.uptime)
            times.extend(w.remaining(clock) for w in self.books.waivers)
        return max(0, min(times))

    def tick(self) -> None:
        """Do what is due by time: end a trial, sweep, end waivers, note the time left."""
        self.catch_up()
        clock = self.system.clock()
        self.proving.tick()
        self.tell_trials()
        if clock.uptime - self.swept >= SWEEP:
            self.sweep()
        elif any(w.remaining(clock) == 0 for w in self.books.waivers):
            self.cycle(())
        if answered := self.posture.awaited.due(self.settings):
            self.cycle(answered)
        if self.books.waivers and clock.uptime - self.noted >= ADVANCE:
            self.noted = clock.uptime
            self.books.keep_waivers(tuple(advance(w, clock) for w in self.books.waivers))

    def catch_up(self) -> None:
        """Write what waits for the disk; then do what could not be done without it."""
        if self.late.due() or (self.originals.held and not self.late.cause):
            try:
                self.late.write()
                self.originals.write(self.system)
            except PrivetError as error:
                self.late.wait(error)
                return
            self.tried.clear()
            self.sweep()

    def tell_room(self) -> None:
        """Tell once that the disk takes nothing, and again only when it took something in between."""
        cause = self.late.cause or self.lacking
        told, self.roomless = self.roomless, bool(cause)
        if cause and not told:
            self.announce(words.no_room(cause, self.system.clock()))

    def changed(self, events: set[tuple[str, str]]) -> None:
        """Answer changes of names in directories."""
        names = self.posture.touched(events)
        if names:
            self.enforcing.moved(events)
            self.system.writers(sorted({directory for directory, _ in events}))  # while whoever wrote still runs
            self.cycle(names)

    def cycle(self, names: tuple[str, ...], quiet: bool = False) -> tuple[Finding, ...]:
        """Look at these settings, restore what is loosened, warn once, and return the findings after it."""
        clock = self.system.clock()
        ended = self.end_waivers(clock)
        before = self.posture.look(tuple(sorted({*names, *ended})), self.books.waivers)
        self.proving.ended = set(ended)
        self.left_alone = set()
        changes = [c for c in self.planned(self.posture.answered(before), clock) if self.worth(c)]
        outcomes = self.enforcing.restore(changes)
        again = tuple(sorted(outcomes))
        after = {f.setting: f for f in (self.posture.look(again, self.books.waivers) if again else ())}
        final = tuple(after.get(f.setting, f) for f in before)
        self.enforcing.seen(final)
        seen = tuple(after.get(f.setting, f) if f.status == UNKNOWN else f for f in before)
        if not quiet:
            news = self.posture.answered(tuple(f for f in seen if f.setting not in ended))
            self.warn(news, self.posture.answered(final), outcomes, clock)
            self.tell_ended(ended, clock)
            self.count_restorations(changes, clock)
        self.tell_trials()
        self.tell_room()
        return final

    def planned(self, findings: tuple[Finding, ...], clock: Clock) -> tuple[Change, ...]:
        """Plan what to change; the ways in are looked at only when a change would touch them."""
        off = [f for f in findings if f.status in (LOOSENED, UNKNOWN) and access(self.settings[f.setting])]
        ways = self.proving.names() if off else ()
        return plan(findings, self.settings, ways, self.stopped(clock))

    def tell_trials(self) -> None:
        """Tell what became of changes on trial."""
        news, self.proving.news = self.proving.news, []
        for warning in news:
            self.announce(warning)

    def worth(self, change: Change) -> bool:
        """Say whether to try: what is unproven, or waits, is brought back once, then when something changed."""
        if change.found is not None and not self.posture.waits(change.setting):
            return True
        if any(waiver.setting == change.setting for waiver in self.books.waivers):
            return False  # a look that told nothing, while the device shuts down say, takes no leave away
        first = change.setting not in self.tried
        self.tried.add(change.setting)
        return first

    def warn(
        self, seen: tuple[Finding, ...], final: tuple[Finding, ...], outcomes: dict[str, str], clock: Clock
    ) -> None:
        """Deliver what is new, remember the rest; a loosening that was undone at once is told and closed.

        `final` may lack what `seen` has: whoever is faster than our second look may leave its answer to be awaited.
        Then what was seen stands until that comes.
        """
        names = {f.setting for f in seen}
        mine = tuple(w for w in self.books.warnings if w.setting in names)
        others = tuple(w for w in self.books.warnings if w.setting not in names)
        before = {f.setting: f for f in seen}
        ends = {**before, **{f.setting: f for f in final}}
        now = tuple(
            settled(w, before[w.setting], ends[w.setting], outcomes.get(w.setting), self.by(w.setting))
            for w in current(seen, self.settings, self.books.waivers, clock)
        )
        new, kept = edges(mine, now, clock)
        stands = tuple(f for name, f in ends.items() if name in names)
        lasting = current(stands, self.settings, self.books.waivers, clock)
        _, kept = edges(kept, lasting, clock)
        self.books.keep_warnings((*others, *kept), tuple(noted(w) for w in new))
        self.deliver(new)

    def by(self, name: str) -> str:
        """Name the program that made the change, when it still runs; asked late, for the first event comes early.

        Whichever look found it: one that was under way when the change was made, or could not tell at first, does too.
        """
        running = [n for n in self.system.writers(self.posture.directories(name)) if not n.startswith(ENDED)]
        return f" Written by {', '.join(running)}." if running else ""

    def deliver(self, warnings: tuple[PrivacyWarning, ...]) -> None:
        """Tell every channel."""
        tell(self.system, self.post, self.books, self.rules.channels(), warnings)

    def announce(self, warning: PrivacyWarning) -> None:
        """Tell one event (a waiver, a policy, a contest) unless it was told just now, and remember it."""
        clock = self.system.clock()
        mine = tuple(w for w in self.books.warnings if w.id == warning.id)
        new, kept = edges(mine, (warning,), clock)
        others = tuple(w for w in self.books.warnings if w.id != warning.id)
        self.books.keep_warnings((*others, *kept), tuple(noted(w) for w in new))
        self.deliver(new)

    def end_waivers(self, clock: Clock) -> tuple[str, ...]:
        """Remove the waivers that are over, journaled, and name their settings."""
        over = tuple(w for w in self.books.waivers if w.remaining(clock) == 0)
        if over:
            left = tuple(w for w in self.books.waivers if w not in over)
            entries: tuple[Journal, ...] = tuple(("waiver_ended", words.of_waiver(w)) for w in over)
            self.books.keep_waivers(left, entries)
        return tuple(sorted({w.setting for w in over}))

    def tell_ended(self, ended: tuple[str, ...], clock: Clock) -> None:
        """Say that a leave is over and what came of it."""
        self.close_waived(ended, clock)
        for name in ended:
            self.announce(words.ended(self.settings[name], self.posture.findings[name], clock))

    def close_waived(self, names: tuple[str, ...], clock: Clock) -> None:
        """Close the standing warnings of settings whose waiver ended."""
        kept = tuple(
            replace(w, open=0, last=clock.wall) if w.setting in names and w.kind == "waived" and w.open else w
            for w in self.books.warnings
        )
        self.books.keep_warnings(kept)

    def count_restorations(self, changes: list[Change], clock: Clock) -> None:
        """Count what was restored; at the limit stop, name the other writer, and warn."""
        for change in changes:
            if change.setting in self.left_alone | self.enforcing.vain or change.found is None:
                continue
            contest = restored(self.contests.get(change.setting) or fresh(change.setting, clock), clock)
            self.contests[change.setting] = contest
            if contest.stopped:
                self.contested(change.setting, clock)

    def contested(self, name: str, clock: Clock) -> None:
        """Say that another program keeps undoing a setting, and which."""
        setting = self.settings[name]
        writers = self.system.writers(self.posture.directories(name))
        self.announce(words.contested(setting, writers, clock))

    def stopped(self, clock: Clock) -> tuple[str, ...]:
        """Return the settings that are left alone for now."""
        return tuple(sorted(n for n, c in self.contests.items() if stopped(c, clock)))

    def wanted(self, name: str) -> Value:
        """Return the baseline of a setting this policy covers."""
        return self.posture.baseline[name]

    def waiver(self, name: str) -> Waiver | None:
        """Return the waiver in force for a setting."""
        for waiver in self.books.waivers:
            if waiver.setting == name:
                return waiver
        return None
