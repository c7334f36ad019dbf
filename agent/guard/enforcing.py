"""Restoring, and what came of it: what changed nothing is not made again by its own echo, and ever more seldom else.

Our own writes wake us like those of others, and have to: they may move other settings. So each setting is looked at
again; but the same steps on the same finding wait for another hand, or for the sweeps (agent/core/contest.py). A hand
is told by the bytes and rights we left in a file, not by the time, so one within the same second counts.
"""

import hashlib
from typing import TYPE_CHECKING

from agent.core.assess import ABSENT, OK, Finding
from agent.core.contest import Attempt, attempted, in_vain
from agent.core.errors import Missing, PrivetError
from agent.core.owed import once, parted
from agent.core.plan import Change, Remove, Write
from agent.guard.executor import apply, make, no_room, summary
from agent.system.door import System
from agent.system.parts import Step

if TYPE_CHECKING:
    from agent.guard.guard import Guard

Print = tuple[int, int, int, bytes] | None  # rights, owner, group and content of a file; None: it is not there


class Enforcing:
    """What one guard has restored."""

    def __init__(self, guard: "Guard") -> None:
        self.guard = guard
        self.attempts: dict[str, Attempt] = {}  # by setting, of those that are not well since
        self.said: dict[str, str] = {}  # by setting: what came of the latest
        self.made: dict[str, tuple[Finding, tuple[Step, ...]]] = {}  # in this cycle
        self.undone: set[str] = set()  # of those, the ones another hand had moved
        self.vain: set[str] = set()  # in the latest cycle: nobody undid anything, and nothing came of it again
        self.owed: list[tuple[str, tuple[Step, ...]]] = []  # what makes programs take up what was changed in this cycle
        self.stirred: set[str] = set()  # by another hand, and not restored since
        self.left: dict[str, Print] = {}  # by path: how we left it

    def moved(self, events: set[tuple[str, str]]) -> None:
        """Note which settings another hand may have moved: they are tried again."""
        names = self.guard.posture.touched({event for event in events if not self.echo(*event)})
        self.stirred.update(names)
        self.guard.tried.difference_update(names)

    def echo(self, directory: str, name: str) -> bool:
        """Say whether a file is as we left it; what names no file may be anything."""
        path = f"{directory.rstrip('/')}/{name}"
        return bool(name) and path in self.left and self.ours(path)

    def ours(self, path: str) -> bool:
        """Say whether a path is as we left it."""
        return found(self.guard.system, path) == (True, self.left[path])

    def forget(self, name: str = "") -> None:
        """Begin anew with a setting, or with all: a person asks."""
        for one in (name,) if name else (*self.attempts, *self.guard.tried):
            self.attempts.pop(one, None)
            self.guard.tried.discard(one)

    def restore(self, changes: list[Change]) -> dict[str, str]:
        """Make changes; return what came of each as one sentence. Nothing is owed while one is on trial."""
        outcomes: dict[str, str] = {}
        for change in changes:
            shut_in = self.guard.rules.shut_in and change.setting == "firewall.inbound"  # until first boot is over
            on_trial = self.guard.proving.covers(change) and not shut_in
            outcomes.update(self.take_up() if on_trial else {})
            outcomes[change.setting] = self.one(change, on_trial)
        return {**outcomes, **self.take_up()}

    def take_up(self) -> dict[str, str]:
        """Make programs take up their files, each once; return what failed, for each setting that asked for it."""
        owed, self.owed = once(tuple(self.owed)), []
        failed: dict[str, str] = {}
        for step, names in owed:
            waiting = [name for name in names if name not in failed]
            try:
                if waiting:
                    make(self.guard.system, step)
            except PrivetError as error:
                failed.update({name: self.failed(name, error) for name in waiting})
        self.said.update(failed)
        return failed

    def one(self, change: Change, on_trial: bool) -> str:
        """Make one change, journaled before and after; return what came of it as one sentence."""
        guard, name = self.guard, change.setting
        held = change.held or (guard.proving.held(change) if on_trial else "")
        if held:
            guard.left_alone.add(name)
            return f"Privet left it as it is, because {held}."
        try:
            steps = guard.posture.steps(name, change.wanted)
        except PrivetError as error:
            guard.left_alone.add(name)
            return self.failed(name, error)
        if not self.waits(name, steps):
            guard.books.store.append("intent", {"setting": name, "steps": summary(steps)})
            self.made[name] = (guard.posture.findings[name], steps)
            self.said[name] = self.make(change, steps, on_trial)
        return self.said[name]

    def waits(self, name: str, steps: tuple[Step, ...]) -> bool:
        """Say whether a restoration waits; note whether another hand asks for it."""
        guard, last, stirred = self.guard, self.attempts.get(name), name in self.stirred
        undone = any(path in self.left and not self.ours(path) for path in touched(steps))
        uptime, finding = guard.system.clock().uptime, guard.posture.findings[name]
        if last is not None and in_vain(last, finding, steps, uptime, stirred, undone):
            guard.left_alone.add(name)
            guard.tried.discard(name)
            return True
        if undone or (stirred and guard.system.writers(guard.posture.directories(name))):
            self.undone.add(name)
        self.stirred.discard(name)
        return False

    def make(self, change: Change, steps: tuple[Step, ...], on_trial: bool) -> str:
        """Make the steps, and remember how they leave what they touch; return what came of it."""
        guard = self.guard
        before = {path: found(guard.system, path) for path in touched(steps)} if on_trial else {}
        said, failed = "", False
        try:
            if on_trial:
                said = guard.proving.run(change, steps)
            else:
                self.apply(change.setting, steps)
        except PrivetError as error:
            said, failed = self.failed(change.setting, error), True
        if on_trial and (failed or said) and guard.proving.trial is None:  # it was set back
            self.stand(before)
        elif failed:
            self.stand({path: found(guard.system, path) for path in touched(steps)})
        else:
            self.leave(steps)
        return said

    def stand(self, paths: dict[str, tuple[bool, Print]]) -> None:
        """Take how paths stand for how we left them; one that cannot be told is nobody's."""
        for path, (told, one) in paths.items():
            self.left.pop(path, None)
            self.left.update({path: one} if told else {})

    def apply(self, name: str, steps: tuple[Step, ...]) -> None:
        """Make the steps of a setting that change the device; the rest is owed, also where the disk has no room."""
        own, rest = parted(steps)
        try:
            apply(self.guard.system, own, lambda system, _: self.guard.originals.record(system, steps))
        except PrivetError as error:
            if no_room(error):
                self.owed.append((name, rest))
            raise
        self.owed.append((name, rest))

    def leave(self, steps: tuple[Step, ...]) -> None:
        """Note what steps make of each path; by the steps, for another hand may be faster than a look."""
        for step in steps:
            if isinstance(step, Write):
                self.left[step.path] = (step.mode, step.uid, step.gid, hashlib.sha256(step.content).digest())
            elif isinstance(step, Remove):
                self.left[step.path] = None
            elif hasattr(step, "path"):
                self.left.pop(step.path, None)

    def failed(self, name: str, error: PrivetError) -> str:
        """Journal a failure, each once; return it as one sentence."""
        guard = self.guard
        if no_room(error):  # nobody undoes it: what could not be written is missing
            guard.left_alone.add(name)
            guard.lacking = str(error)
        if guard.failures.get(name) != str(error):  # what fails at every sweep is journaled once
            guard.books.store.append("failed", {"setting": name, "why": str(error)})
        guard.failures[name] = str(error)
        return f"Privet could not set it back: {error}"

    def seen(self, findings: tuple[Finding, ...]) -> None:
        """Note what was found at the end of a cycle: what is well is forgotten, what was made in vain remembered."""
        uptime, self.vain = self.guard.system.clock().uptime, set()
        for finding in findings:
            name = finding.setting
            if finding.status in (OK, ABSENT):
                self.attempts.pop(name, None)
                self.stirred.discard(name)
            elif name in self.made and name not in self.guard.left_alone:
                before, steps = self.made[name]
                last = self.attempts.get(name)
                self.attempts[name] = attempted(last, before, finding, steps, uptime)
                if self.attempts[name].vain > 1 and name not in self.undone:
                    self.vain.add(name)
        self.made, self.undone = {}, set()


def found(system: System, path: str) -> tuple[bool, Print]:
    """Look at a file: whether that could be done, and what it is; whatever else is there cannot be ours."""
    try:
        stat = system.stat(path)
        if stat.kind != "file":
            return False, None
        return True, (stat.mode, stat.uid, stat.gid, hashlib.sha256(system.read(path)).digest())
    except Missing:
        return True, None
    except PrivetError:
        return False, None


def touched(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Return the files that steps write or remove."""
    return tuple(step.path for step in steps if isinstance(step, Write | Remove))
