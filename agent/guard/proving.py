"""Changes of the owner's access are made on trial: armed, applied, proven by use, then kept; else they go back.

    arm (durable) -> apply -> look at every way in -> confirm | wait for the owner until the deadline | set back

One at a time: no way is closed before another is proven. A way that the device can use itself proves it at once; where
only the owner can say whether they still get in, the change stays on trial and they confirm it from a new session.
"""

import time
from contextlib import suppress

from agent.core.errors import Failed, PrivetError, Refused, Tampered, Unreadable
from agent.core.plan import Change, Reload
from agent.core.record import frozen
from agent.core.setting import Setting
from agent.core.trial import (
    ARMED,
    CONFIRM,
    CONFIRMED,
    FIRST,
    NEW,
    REVERT,
    REVERTED,
    SETTLED,
    TRIED,
    WAIT,
    WINDOW,
    Trial,
    Way,
    access,
    closing,
    former,
    judge,
    remaining,
    usable,
)
from agent.core.warn import PrivacyWarning
from agent.guard import entrances, words
from agent.guard import trial as kept
from agent.guard.books import Store
from agent.guard.executor import apply, summary
from agent.guard.posture import Posture
from agent.guard.remembered import Remembered
from agent.guard.session import signed_in_since
from agent.system.door import System
from agent.system.parts import Step

PAUSE = 0.25  # seconds between looks at a door that is just being opened anew
AGAIN = 60  # seconds between looks while the owner is waited for


class Proving(Remembered):
    """The one change that may be on trial, and what became of those before."""

    def __init__(self, system: System, store: Store, settings: dict[str, Setting], patience: int = 12) -> None:
        self.system = system
        self.store = store
        self.settings = settings
        self.patience = patience
        self.posture = Posture(system, settings, {})
        self.trial: Trial | None = None
        self.first = False
        self.ended: set[str] = set()
        self.stuck = ""  # why a trial that is over could not be ended: the disk takes nothing
        self.looked = 0
        self.news: list[PrivacyWarning] = []

    def take_up(self) -> None:
        """Go on with what an earlier guard of this start left on trial; set back what is over."""
        try:
            trial = kept.recorded(self.system)
        except Tampered:
            self.news.append(words.damaged(kept.set_aside(self.system), self.system.clock()))
            return
        if trial is None:
            return
        start = kept.start_of(self.system)
        if trial.state == ARMED and trial.start == start and trial.setting in self.settings:
            self.trial = trial
            self.attempt(trial)
        elif trial.state == ARMED:
            self.set_back(trial, "the device was started again before it was proven")
        else:
            if trial.state == REVERTED:
                self.closed(trial, "the device was started again before it was proven", trial.left)
            with suppress(Unreadable):  # on a disk that takes nothing it is told at the next start once more
                kept.forget(self.system)

    # -- one change

    def covers(self, change: Change) -> bool:
        """Say whether a change is to be made on trial."""
        return access(self.settings[change.setting])

    def ways(self) -> tuple[Way, ...]:
        """Look at every way in."""
        return entrances.look(self.system, self.store, self.settings, self.posture)

    def names(self) -> tuple[str, ...]:
        """Name the ways that are open now."""
        return tuple(way.name for way in usable((), self.ways()) if way.reach != "rights")

    def tried(self) -> list[str]:
        """Name the ways that were used just now."""
        return [way.name for way in self.ways() if way.state == TRIED]

    def run(self, change: Change, steps: tuple[Step, ...]) -> str:
        """Make one change on trial; return what there is to say when it is not simply done."""
        setting = self.settings[change.setting]
        clock = self.system.clock()
        trial = Trial(
            setting=setting.id,
            title=setting.title,
            wanted=change.wanted,
            former=former(setting, self.posture.probe(setting).live),
            agreed=self.agreed(change),
            state=ARMED,
            start=kept.start_of(self.system),
            since=clock.uptime,
            deadline=clock.uptime + WINDOW,
            tries=0,
            before=self.ways(),
            originals=kept.snapshot(self.system, steps),
            left=(),
        )
        try:
            kept.record(self.system, trial)
        except PrivetError as error:
            with suppress(PrivetError):
                kept.forget(self.system)
            raise Failed(f"the trial is not begun, because no record of it can be kept ({error})") from error
        self.trial = trial
        self.store.append("trial_armed", {"setting": trial.setting, "seconds": WINDOW, "steps": summary(steps)})
        try:
            apply(self.system, steps)
        except PrivetError as error:
            self.set_back(trial, f"a step failed: {error}", failed=True)
            raise
        return self.decide(self.judged(trial), trial)

    def agreed(self, change: Change) -> str:
        """Say what was agreed already: the first setting-up, the end of a leave, a value that was in force before."""
        if self.first:
            return FIRST
        known = self.store.get("settled") or {}
        same = change.setting in known and frozen(known[change.setting]) == change.wanted
        return SETTLED if same or change.setting in self.ended else NEW

    def judged(self, trial: Trial) -> str:
        """Use the ways in and decide; a server that is just starting anew gets a few seconds."""
        closes = self.may_close(trial)
        verdict, after = REVERT, trial.before
        for turn in range(self.patience + 1):
            after = self.ways()
            verdict = judge(trial.before, after, closes, trial.agreed)
            was = {way.name for way in trial.before if way.state == TRIED and way.name not in closes}
            if verdict != REVERT or not was - {way.name for way in after if way.state == TRIED}:
                break
            if turn < self.patience:
                time.sleep(PAUSE)
        self.looked = self.system.clock().uptime
        tried = [f"{way.name}: {way.cause}" for way in after if way.state == TRIED]
        self.store.append("trial_proved", {"setting": trial.setting, "verdict": verdict, "tried": tried})
        return verdict

    def may_close(self, trial: Trial) -> tuple[str, ...]:
        """Name the ways whose loss is no defect: those the value closes, and going back to what was, those since then.

        Else whoever opens a door and puts a key in it would make the guard keep it open.
        """
        closes = closing(self.settings[trial.setting], trial.wanted, trial.before)
        if trial.agreed == SETTLED:
            lived = self.store.get("lived") or ()
            closes += tuple(way.name for way in trial.before if way.name not in lived)
        return closes

    def decide(self, verdict: str, trial: Trial) -> str:
        """Do what was decided; return what there is to say."""
        if verdict == CONFIRM:
            self.confirmed(trial, "the device")
            return ""
        if verdict == REVERT:
            self.set_back(trial, "no way in was left that works")
            return "Privet set it back to private and then undid that, because no way in was left that works."
        clock = self.system.clock()
        self.news.append(words.waiting(trial, self.left(trial), clock))
        return f"Privet has made it private again on trial: {words.terms(self.left(trial), clock)}."

    # -- ends

    def confirmed(self, trial: Trial, by: str) -> None:
        """Keep the change for good; the record of it goes first, so that no power cut brings it back."""
        self.settle(trial, CONFIRMED)
        known = {**(self.store.get("settled") or {}), trial.setting: trial.wanted}
        failed = {k: v for k, v in (self.store.get("set_back") or {}).items() if k != trial.setting}
        note = ("trial_confirmed", {"setting": trial.setting, "by": by})
        self.store.put({"settled": known, "set_back": failed, "lived": self.tried()}, (note,))
        kept.forget(self.system)
        self.trial, self.stuck = None, ""

    def set_back(self, trial: Trial, why: str, *, failed: bool = False) -> None:
        """Bring back what was before, live and kept, and record and tell it; a step that `failed` is told elsewhere."""
        steps: tuple[Step, ...] = ()
        with suppress(PrivetError, KeyError):  # a setting of another version: its bytes come back
            steps = self.posture.steps(trial.setting, trial.former)
        self.each(steps)
        left = kept.put_back(self.system, trial.originals)
        left = kept.put_back(self.system, trial.originals) if left else ()
        self.each(tuple(step for step in steps if isinstance(step, Reload)))
        try:
            self.settle(trial, REVERTED, left)
        except PrivetError as error:  # it stays armed: tried again in a minute, and at the next start of the device
            self.stick(trial, error)
            return
        self.trial, self.stuck = None, ""
        if failed and not left:
            self.store.append("trial_reverted", {"setting": trial.setting, "why": why, "left": left})
        else:
            self.closed(trial, why, left)
        kept.forget(self.system)

    def settle(self, trial: Trial, state: str, left: tuple[str, ...] = ()) -> None:
        """Record what became of a trial; with no room for that, and nothing left to bring back, it is let go of."""
        try:
            kept.settle(self.system, trial, state, left)
        except PrivetError:
            if left:
                raise
            kept.forget(self.system)

    def stick(self, trial: Trial, error: PrivetError) -> None:
        """Keep a trial that cannot be ended now, and tell it once."""
        self.looked = self.system.clock().uptime
        if not self.stuck:
            self.news.append(words.stuck(trial, str(error), self.system.clock()))
        self.stuck = str(error)

    def each(self, steps: tuple[Step, ...]) -> None:
        """Make steps one by one, whatever becomes of the others: what is kept is brought back by its bytes anyway."""
        for step in steps:
            with suppress(PrivetError):
                apply(self.system, (step,))

    def closed(self, trial: Trial, why: str, left: tuple[str, ...]) -> None:
        """Remember that a change was set back, so that it is not tried again for ever, and tell the owner."""
        row = {"wanted": trial.wanted, "why": why, "tried": [w.name for w in trial.before if w.state == TRIED]}
        lived = trial.agreed == SETTLED and trial.start != kept.start_of(self.system)  # power alone undid it: made anew
        known = {**(self.store.get("set_back") or {}), **({} if lived else {trial.setting: row})}
        note = ("trial_reverted", {"setting": trial.setting, "why": why, "left": left})
        self.store.put({"set_back": known}, (note,))
        setting = self.settings.get(trial.setting)
        self.news.append(words.undone(trial, setting, why, left, lived, self.system.clock()))

    def confirm(self, name: str, pid: int) -> str:
        """Keep the change on trial because its owner came in by a new session; return its title."""
        trial = self.trial
        if trial is None:
            raise Refused("no change is on trial; there is nothing to confirm")
        if not signed_in_since(self.system, pid, trial.since):
            raise Refused(f"this session is older than the change, so it does not show anything; {words.CONFIRM_BY}")
        self.confirmed(trial, name)
        return trial.title

    # -- time

    def due(self) -> int:
        """Return the seconds until something is to be done."""
        if self.trial is None:
            return AGAIN * AGAIN
        again = max(0, self.looked + AGAIN - self.system.clock().uptime)
        return again if self.stuck else min(self.left(self.trial), again)

    def left(self, trial: Trial) -> int:
        """Return the seconds until the deadline."""
        return remaining(trial, kept.start_of(self.system), self.system.clock().uptime)

    def tick(self) -> None:
        """Set back what is over; look again whether the device can prove it by now."""
        trial = self.trial
        if trial is None:
            return
        due = self.system.clock().uptime - self.looked >= AGAIN
        if due or (self.left(trial) == 0 and not self.stuck):
            self.attempt(trial, silent=WAIT)

    def attempt(self, trial: Trial, silent: str = "") -> None:
        """Decide now, or set back what is over; where the disk takes nothing the trial stays for another attempt."""
        try:
            verdict = self.judged(trial) if self.left(trial) else ""
            if not verdict:
                self.set_back(trial, "nobody confirmed it in time")
            elif verdict != silent:
                self.decide(verdict, trial)
        except PrivetError as error:
            self.stick(trial, error)

    def give_way(self, name: str) -> None:
        """End a trial of a setting because a person loosens it now: what was before comes first."""
        if self.trial is not None and self.trial.setting == name:
            self.set_back(self.trial, "a person loosened it", failed=True)
