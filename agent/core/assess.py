"""From readings to findings: is a setting as private as the policy wants, in every place it lives?"""

from .order import ANY
from .record import Record
from .shown import harmless
from .waiver import covered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .clock import Clock
    from .order import Order
    from .record import Value
    from .setting import Setting
    from .waiver import Parts, Waiver

OK = "ok"
LOOSENED = "loosened"
WAIVED = "waived"
UNKNOWN = "unknown"
ABSENT = "absent"
STATUSES = (OK, LOOSENED, WAIVED, UNKNOWN, ABSENT)


class Reading(Record):
    """One look at a setting: what runs now (`live`) and what outlives a reboot (`kept`).

    None in `live` or `kept` means that this place could not be read, and `cause` says why. `absent` is true when
    the thing the setting is about is not there at all (no SSH server installed): then both are None, cause says so.
    """

    __slots__ = ("absent", "cause", "kept", "live")
    live: "Value | None"
    kept: "Value | None"
    cause: str
    absent: bool

    def effective(self, lattice: "Order") -> "Value | None":
        """Join both places, the looser one wins; None when either is unknown, unless the other already is ANY."""
        if self.live is None or self.kept is None:
            return ANY if ANY in (self.live, self.kept) else None
        return lattice.join(self.live, self.kept)


class Finding(Record):
    """The verdict on one setting: status, what the policy wants, what was found, and the reading behind it."""

    __slots__ = ("cause", "found", "kept", "live", "setting", "status", "wanted")
    setting: str
    status: str
    wanted: "Value"
    found: "Value | None"
    live: "Value | None"
    kept: "Value | None"
    cause: str


def seen(live: "Value", kept: "Value") -> Reading:
    """Make a reading of two known places."""
    return Reading(live=live, kept=kept, cause="", absent=False)


def unread(cause: str, live: "Value | None" = None, kept: "Value | None" = None) -> Reading:
    """Make a reading in which at least one place could not be read."""
    return Reading(live=live, kept=kept, cause=cause, absent=False)


def absent(cause: str) -> Reading:
    """Make a reading of something that is not on this device."""
    return Reading(live=None, kept=None, cause=cause, absent=True)


def assess(
    setting: "Setting",
    wanted: "Value",
    reading: Reading,
    waivers: "tuple[Waiver, ...]",
    clock: "Clock",
    parts: "Parts" = (),
) -> Finding:
    """Judge one reading against the wanted value and the waivers in force; what cannot be read is never fine.

    `parts`: what of it was found in which context, where that is known.
    """
    lattice = setting.lattice()
    found = None if reading.absent else reading.effective(lattice)
    if reading.absent:
        status = ABSENT
    elif found is None:
        known = reading.kept if reading.live is None else reading.live
        loose = known is not None and not lattice.allows(wanted, known)
        status = LOOSENED if loose else UNKNOWN
        found = known if loose else None
    elif lattice.allows(wanted, found):
        status = OK
    else:
        status = LOOSENED
    if status == LOOSENED and found is not None and covered(setting, wanted, found, parts, waivers, clock):
        status = WAIVED
    return Finding(
        setting=setting.id,
        status=status,
        wanted=wanted,
        found=found,
        live=reading.live,
        kept=reading.kept,
        cause=harmless(reading.cause),
    )
