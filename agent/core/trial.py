"""Changes on trial: what touches the owner's access is proven by using it, else it goes back by itself.

A trial is kept as one record: what was there before, byte for byte, and when patience ends. It is armed before the
first step is made and let go of only after a proof, so a crash or a power cut ends in what was there before. The
deadline is counted on the clock that no one can set, together with the name of this start of the device: a record of
another start is over at once. Programs that keep this in memory alone leave a device locked out after a power cut, and
"the controller answers" is no proof that the owner can sign in: only a way that was used is.
"""

from .errors import Tampered
from .frame import framed, unframed
from .order import ANY
from .record import Record, as_map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .record import Value
    from .setting import Setting

WINDOW = 600  # seconds to confirm; what routers give
TRIES = 2  # at bringing a trial back; one at each start of the device, then the rest is given up and told

# How a way in stands.
TRIED = "tried"  # it was used just now, or was once and nothing about it has changed since
KNOWN = "known"  # it is there, but only the owner can use it
IDLE = "idle"  # its server does not answer: no news while that was so before, and a loss where it was in use
SHUT = "shut"
STATES = (TRIED, KNOWN, IDLE, SHUT)
# From where it is used.
AFAR, HERE, RIGHTS = "afar", "here", "rights"

# What is agreed already.
NEW, SETTLED, FIRST = "new", "settled", "first"
# Verdicts.
CONFIRM, WAIT, REVERT = "confirm", "wait", "revert"
# What is recorded.
ARMED, CONFIRMED, REVERTED = "armed", "confirmed", "reverted"


class Way(Record):
    """One way in as it stands now: its name, from where it is used, its state, the flow it needs, and why."""

    __slots__ = ("cause", "flow", "name", "reach", "state")
    name: str
    reach: str
    state: str
    flow: str
    cause: str


class FormerPath(Record):
    """What a path was before: kind file (with content), directory (rights alone) or absent."""

    __slots__ = ("content", "gid", "kind", "mode", "path", "uid")
    path: str
    kind: str
    content: bytes
    mode: int
    uid: int
    gid: int


class Trial(Record):
    """One change on trial; `start` names the start of the device, `deadline` and `since` are seconds of its uptime."""

    __slots__ = (
        "agreed", "before", "deadline", "former", "left", "originals", "setting", "since", "start", "state", "title",
        "tries", "wanted",
    )  # fmt: skip
    setting: str
    title: str
    wanted: "Value"
    former: "Value"
    agreed: str
    state: str
    start: str
    since: int
    deadline: int
    tries: int
    before: "tuple[Way, ...]"
    originals: "tuple[FormerPath, ...]"
    left: "tuple[str, ...]"


def access(setting: "Setting") -> bool:
    """Say whether a setting touches the owner's access, so that it is changed on trial only."""
    return bool(setting.closes or setting.touches or setting.gates)


def closing(setting: "Setting", wanted: "Value", ways: "tuple[Way, ...]") -> "tuple[str, ...]":
    """Name the ways that a value is meant to close: those it says, and those whose flow it leaves out."""
    left_out = [d.name for d in ways if d.name in setting.gates and d.flow and not reachable(wanted, d.flow)]
    return tuple(sorted(set(list(setting.closes) + left_out)))


def reachable(flows: "Value | None", flow: str) -> bool:
    """Say whether a neighbour's `tcp/22` passes these inbound flows."""
    if flows == ANY:
        return True
    if type(flows) is not tuple:
        return False
    protocol, port = flow.split("/")
    for one in flows:
        head, _, peer = one.partition("@")
        own, _, ports = head.partition("/")
        if own in (protocol, "any") and peer != "loopback" and in_range(port, ports):
            return True
    return False


def in_range(port: str, ports: str) -> bool:
    """Say whether a port is meant by a port, a range or any."""
    low, dash, high = ports.partition("-")
    if dash and low.isdigit() and high.isdigit() and port.isdigit():
        return int(low) <= int(port) <= int(high)
    return ports in ("any", port)


def usable(before: "tuple[Way, ...]", after: "tuple[Way, ...]") -> "tuple[Way, ...]":
    """Return the ways that count: those that are there, and those whose server was no more in use before."""
    was = {d.name: d.state for d in before}
    return tuple([d for d in after if d.state in (TRIED, KNOWN) or (d.state == IDLE and was.get(d.name, IDLE) == IDLE)])


def judge(before: "tuple[Way, ...]", after: "tuple[Way, ...]", closes: "tuple[str, ...]", agreed: str) -> str:
    """Decide about an applied change: CONFIRM, WAIT for the owner, or REVERT.

    `agreed`: FIRST while the device is set up for the first time (then any way in will do), SETTLED when the same value
    was in force before, so that the owner has lived with it; NEW otherwise.
    """
    had, have = usable((), before), usable(before, after)
    inside = [d for d in have if d.reach != RIGHTS]
    if not inside and [d for d in had if d.reach != RIGHTS]:
        return REVERT
    if [d for d in had if d.reach == RIGHTS] and not [d for d in have if d.reach == RIGHTS]:
        return REVERT
    if agreed == FIRST:
        return CONFIRM
    left = {d.name: d.state for d in have}
    lost = [d for d in had if d.name not in left]
    if [d for d in lost if d.state == TRIED and d.name not in closes]:
        return REVERT
    weaker = [d for d in had if d.state == TRIED and left.get(d.name) == KNOWN]
    if agreed == SETTLED or not lost + weaker:
        return CONFIRM
    if [d for d in weaker if d.reach == RIGHTS]:
        return WAIT
    where = [AFAR] if [d for d in had if d.reach == AFAR] else [AFAR, HERE]
    return CONFIRM if [d for d in inside if d.state == TRIED and d.reach in where] else WAIT


def former(setting: "Setting", live: "Value | None") -> "Value":
    """Return the value that brings the live state back; the loosest that is listed when it was none of them."""
    if live is not None and setting.lattice().member(live):
        return live
    return setting.options[-1].value


def remaining(trial: Trial, start: str, uptime: int) -> int:
    """Return the seconds until the deadline; 0 also in another start of the device, or when that has no name."""
    return max(0, trial.deadline - uptime) if start and start == trial.start else 0


def pack(trial: Trial) -> bytes:
    """Return the record as it is kept."""
    table = as_map(trial)
    table["before"] = [as_map(d) for d in trial.before]
    table["originals"] = [as_map(o) for o in trial.originals]
    return framed("TRIAL", table)


def unpack(kept: bytes) -> Trial:
    """Return a kept record, or Tampered."""
    table = unframed("TRIAL", kept)
    try:
        return read(table)
    except (TypeError, KeyError, AttributeError):
        raise Tampered("the record of a change on trial makes no sense; update Privet") from None


def read(table: "dict[str, Any]") -> Trial:
    """Rebuild the record."""
    fields = dict(table)
    fields["before"] = tuple([Way(**d) for d in table["before"]])
    fields["originals"] = tuple([FormerPath(**o) for o in table["originals"]])
    for name in ("wanted", "former", "left"):
        if type(fields[name]) is list:
            fields[name] = tuple(fields[name])
    return Trial(**fields)
