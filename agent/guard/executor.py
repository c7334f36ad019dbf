"""Apply steps through the door, in order, one journal entry before and one after."""

import errno
from collections.abc import Callable

from agent.core.errors import Failed, Missing, PrivetError
from agent.core.plan import Append, Overwrite, Own, Reload, Remove, Run, Unlist, Write
from agent.guard import originals
from agent.system.door import System
from agent.system.parts import Step

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Recorder = Callable[[System, tuple[Step, ...]], None]


def apply(system: System, steps: tuple[Step, ...], recorder: Recorder = originals.record) -> None:
    """Apply the steps in order; the first that fails stops the rest and raises its PrivetError.

    How things were before the first change is recorded first, by whoever calls this and without being asked. A file
    that already holds the wanted content or rights is left alone, so that enforcing twice writes once.

    A file for which the disk has no room does not keep the steps after it from what they can do (the kernel's values,
    the firewall that runs); that it could not be written is raised at the end.
    """
    recorder(system, steps)
    lacking: PrivetError | None = None
    for step in steps:
        try:
            make(system, step)
        except PrivetError as error:
            if lacking is None and not no_room(error):
                raise
            lacking = lacking or error
    if lacking is not None:
        raise lacking


def make(system: System, step: Step) -> None:
    """Make one step."""
    if isinstance(step, Write):
        if not holds(system, step):
            system.write(step.path, step.content, step.mode, step.uid, step.gid)
    elif isinstance(step, Overwrite | Append):
        in_place(system, step)
    elif isinstance(step, Remove):
        system.remove(step.path)
    elif isinstance(step, Own):
        if not owned(system, step):
            system.own(step.path, step.mode, step.uid, step.gid)
    elif isinstance(step, Unlist):
        if system.access_lists(step.path) != (b"", b""):
            system.list_access(step.path, b"", b"")
    elif isinstance(step, Reload):
        system.reload(step.unit, step.pidfile)
    else:
        launch(system, step)


def in_place(system: System, step: Overwrite | Append) -> None:
    """Change a file where it lies, unless it is done already; a file that is not as it was looked at is left alone."""
    wanted = step.content if isinstance(step, Overwrite) else step.before + step.content
    try:
        now = system.read(step.path)
    except Missing:
        now = b""
    if now == wanted:
        return
    if now != step.before:
        raise Failed(f"{step.path} was changed meanwhile; run privet enforce again")
    if isinstance(step, Overwrite):
        system.overwrite(step.path, step.content)
    else:
        system.append(step.path, step.content, 0o644)


def no_room(error: BaseException | None) -> bool:
    """Say whether an error comes of a disk that is full or read-only."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno in NO_ROOM
        error = error.__cause__
    return False


def holds(system: System, step: Write) -> bool:
    """Say whether the file already is what the step would make it."""
    try:
        stat = system.stat(step.path)
        same = (stat.kind, stat.mode, stat.uid, stat.gid) == ("file", step.mode, step.uid, step.gid)
        return same and stat.size == len(step.content) and system.read(step.path) == step.content
    except PrivetError:
        return False


def owned(system: System, step: Own) -> bool:
    """Say whether owner, group and rights already are what the step would make them."""
    stat = system.stat(step.path)
    there = stat.kind in ("file", "directory")
    return there and (stat.mode, stat.uid, stat.gid) == (step.mode, step.uid, step.gid)


def launch(system: System, step: Run) -> None:
    """Run a program of a step; its exit code decides."""
    outcome = system.run(step.argv, step.stdin)
    if outcome.code != 0:
        last = outcome.err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        raise Failed(
            f"{step.argv[0]} failed with {outcome.code} ({last[0][:160]}); run privet enforce after mending it"
        )


def summary(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """Name the steps for the journal: what kind, and which path or program; never any content."""
    return tuple(f"{type(s).__name__} {named(s)}" for s in steps)


def named(step: Step) -> str:
    """Name the object of one step."""
    if isinstance(step, Run):
        return step.argv[0]
    return step.unit if isinstance(step, Reload) else step.path
