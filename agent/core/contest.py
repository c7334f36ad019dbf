"""Contests and what is restored in vain: when to stop fighting another program, and when to stop waking ourselves.

A contest is with another hand, which is told of. In vain is what nobody undoes, and what comes to nothing all the same:
the file of a daemon that runs with another one, say.
"""

from .record import Record, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .assess import Finding
    from .clock import Clock

LIMIT = 5  # restorations
WITHIN = 600  # seconds of uptime
TRUCE = 3600  # seconds of uptime until it is tried again
AGAIN = 300  # seconds of uptime until what came to nothing is tried again; twice as long each time, up to TRUCE


class Contest(Record):
    """The recent restorations of one setting, in seconds of uptime of start number `boot`; `stopped` is 0 or when."""

    __slots__ = ("boot", "restored", "setting", "stopped")
    setting: str
    boot: int
    restored: "tuple[int, ...]"
    stopped: int


def fresh(setting: str, clock: "Clock") -> Contest:
    """Begin with nothing restored; uptime 0 stands for never, so the count starts at 1."""
    return Contest(setting=setting, boot=clock.boot, restored=(), stopped=0)


def restored(contest: Contest, clock: "Clock") -> Contest:
    """Note one restoration; the one that reaches LIMIT within WITHIN stops the contest."""
    recent = [at for at in contest.restored if clock.uptime - at < WITHIN and contest.boot == clock.boot]
    recent.append(clock.uptime)
    stopped = (clock.uptime or 1) if len(recent) >= LIMIT else 0
    return Contest(setting=contest.setting, boot=clock.boot, restored=tuple(recent), stopped=stopped)


def stopped(contest: Contest, clock: "Clock") -> bool:
    """Say whether the setting is left alone for now."""
    return contest.stopped > 0 and contest.boot == clock.boot and clock.uptime - contest.stopped < TRUCE


class Attempt(Record):
    """The latest restoration of a setting that left it not fine.

    after: the finding then, without the words of its cause, which may differ at each look; steps: what was made; vain:
    how many in a row changed nothing; again: the uptime at which it is worth trying for no other reason.
    """

    __slots__ = ("after", "again", "steps", "vain")
    after: "Finding"
    steps: "tuple[object, ...]"
    vain: int
    again: int


def attempted(
    last: "Attempt | None", before: "Finding", after: "Finding", steps: "tuple[object, ...]", uptime: int
) -> Attempt:
    """Return the record of one more restoration: what was found before and after it."""
    before, after = bare(before), bare(after)
    vain = 1
    if last is not None:
        unproven = last.after.found is None and before.found is None and after.found is None
        vain += last.vain if unproven or last.after == before == after else 0
    pause = AGAIN << (vain - 1 if vain < 5 else 4)
    return Attempt(after=after, steps=steps, vain=vain, again=uptime + (pause if pause < TRUCE else TRUCE))


def in_vain(
    last: Attempt, finding: "Finding", steps: "tuple[object, ...]", uptime: int, stirred: bool, undone: bool
) -> bool:
    """Say whether to make these steps now would only repeat the latest restoration.

    `stirred`: another hand moved something near; `undone`: it changed the very files that the steps are about. What is
    known to be loose and was not so before is always restored: whether that is a fight is for the contest to say. What
    stirs each time (a program that a step starts may) is the end of it after LIMIT; so is what stays unproven.
    """
    if uptime >= last.again:
        return False
    same = last.after == bare(finding)
    if finding.found is not None and (undone or not same):
        return False
    if same and last.steps == steps and not stirred and not undone:
        return True
    unproven = last.after.found is None and last.after.wanted == finding.wanted
    return last.vain >= LIMIT and (same or unproven)


def bare(finding: "Finding") -> "Finding":
    """Return what counts of a finding."""
    return replace(finding, cause="")
