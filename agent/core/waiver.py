"""Waivers: a person's time-limited leave to run one setting looser than the policy wants.

A setting can stand in several places at once, its contexts: one account, one network interface, one connection. Leave
for one of them is no leave for another.
"""

from .errors import BadInput, Refused
from .order import ANY
from .record import Record, from_map, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .clock import Clock
    from .record import Value
    from .setting import Setting

    Parts = tuple[tuple[str, Value], ...]
else:
    Parts = tuple  # modules outside the core import it at run time as well

LONGEST = 30 * 86400
UNSEEN = 60  # seconds charged for each restart besides its own: the guard notes the time left at least this often


class Waiver(Record):
    """Leave for one setting up to a ceiling, in one context of it, or in all of them (`context` is empty).

    It ends at wall time `until` or after `left` seconds of device uptime, whichever comes first. `left` was true at
    `uptime` of start number `boot`, so neither a clock set back nor restarts make it last longer.
    """

    __slots__ = ("boot", "by", "ceiling", "context", "left", "reason", "role", "setting", "since", "until", "uptime")
    setting: str
    ceiling: "Value"
    context: str
    by: str
    role: str
    reason: str
    since: int
    until: int
    left: int
    boot: int
    uptime: int

    def remaining(self, clock: "Clock") -> int:
        """Return the seconds left, 0 when it is over."""
        left = self.left - passed(self, clock, False)
        by_wall = self.until - clock.wall
        shortest = left if left < by_wall else by_wall
        return shortest if shortest > 0 else 0

    def covers(self, setting: "Setting", wanted: "Value", found: "Value", clock: "Clock", context: str = "") -> bool:
        """Say whether what was found in a context is within what the policy wants joined with the ceiling, in time."""
        if setting.id != self.setting or found == ANY or self.remaining(clock) == 0:
            return False
        if self.context not in ("", context):
            return False
        lattice = setting.lattice()
        return lattice.leq(found, lattice.join(wanted, self.ceiling))


def covered(
    setting: "Setting",
    wanted: "Value",
    found: "Value",
    parts: "Parts",
    waivers: "tuple[Waiver, ...]",
    clock: "Clock",
) -> bool:
    """Say whether there is leave for all that was found: as a whole, or for each context by itself.

    `parts` is what was found in each context, "" for what belongs to none of them. What they do not explain of `found`
    has no leave.
    """
    if any([waiver.covers(setting, wanted, found, clock) for waiver in waivers]):
        return True
    lattice = setting.lattice()
    explained = wanted
    for context, value in parts:
        fine = lattice.allows(wanted, value)
        if not fine and not any([waiver.covers(setting, wanted, value, clock, context) for waiver in waivers]):
            return False
        explained = lattice.join(explained, value)
    return bool(parts) and found != ANY and lattice.leq(found, explained)


def spared(setting: "Setting", waivers: "tuple[Waiver, ...]", clock: "Clock") -> "Parts":
    """Return for which contexts of a setting there is leave of their own, and up to what."""
    mine = [waiver for waiver in waivers if waiver.setting == setting.id and waiver.context]
    return tuple([(waiver.context, waiver.ceiling) for waiver in mine if waiver.remaining(clock)])


def stored(table: "dict[str, Any]") -> Waiver:
    """Rebuild a waiver from what was kept of it; before there were contexts one held for the whole setting."""
    whole = {"context": ""}
    whole.update(table)
    return from_map(Waiver, whole)


def grant(
    setting: "Setting",
    ceiling: "Value",
    seconds: int,
    reason: str,
    by: str,
    role: str,
    clock: "Clock",
    context: str = "",
) -> Waiver:
    """Make a waiver, or refuse one without a real ceiling, a reason or an end."""
    if ceiling == ANY or not setting.lattice().member(ceiling):
        known = ", ".join([str(o.value) for o in setting.options])
        raise BadInput("%s cannot be %r; choose from: %s" % (setting.id, ceiling, known))
    if setting.lattice().leq(ceiling, setting.strictest()):
        raise Refused("%s at %r needs no waiver; use privet tighten" % (setting.id, ceiling))
    if type(seconds) is not int or seconds < 60 or seconds > LONGEST:
        raise BadInput("a loosening lasts between one minute and 30 days; give --for, for example --for 2h")
    if not reason.strip() or len(reason) > 200:
        raise BadInput("a loosening needs a reason of at most 200 letters; give --reason")
    if len(context) > 80 or "\t" in context or "\n" in context or context != context.strip():
        raise BadInput(
            "a context is one line of at most 80 letters; privet explain %s names those there are" % setting.id
        )
    return Waiver(
        setting=setting.id,
        ceiling=ceiling,
        context=context,
        by=by,
        role=role,
        reason=reason.strip(),
        since=clock.wall,
        until=clock.wall + seconds,
        left=seconds,
        boot=clock.boot,
        uptime=clock.uptime,
    )


def passed(waiver: Waiver, clock: "Clock", same: bool, began: int = 0) -> int:
    """Return the seconds since the time left was noted; what is not known of a restart counts as long as it can be.

    `same`: only the guard was started again, the device runs on. Else the device has run since it `began` (uptime then:
    not 0 in a container, whose kernel runs on), before anybody looked, and for up to UNSEEN before its power went.
    """
    if same or clock.boot == waiver.boot:
        spent = clock.uptime - waiver.uptime
        return spent if spent > 0 else 0
    return UNSEEN + (clock.uptime - began if clock.uptime > began else 0)


def advance(waiver: Waiver, clock: "Clock", same: bool = False, began: int = 0) -> Waiver:
    """Charge the time that has passed; call at start and at least every UNSEEN seconds, and keep the result."""
    left = waiver.left - passed(waiver, clock, same, began)
    return replace(waiver, left=left if left > 0 else 0, boot=clock.boot, uptime=clock.uptime)
