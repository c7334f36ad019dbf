"""Contests: when another program keeps undoing a setting, stop after a bounded number of restorations and say so."""

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .clock import Clock

LIMIT = 5  # restorations
WITHIN = 600  # seconds of uptime
TRUCE = 3600  # seconds of uptime until it is tried again


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
