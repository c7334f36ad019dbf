"""Warnings: one per loosening, in plain words, when it begins; never a second one for the same thing flapping."""

import binascii
import hashlib

from .assess import LOOSENED, UNKNOWN, WAIVED
from .record import Record, replace
from .shown import brief, spell, typed
from .spoken import bare, who

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .assess import Finding
    from .clock import Clock
    from .record import Value
    from .setting import Setting
    from .waiver import Waiver

QUIET = 600  # seconds: the same loosening within this time of its end is the same story, counted and not told again
KEPT = 100


class PrivacyWarning(Record):
    """What one person is told once: `id` names the difference, `open` is 1 while it lasts, `count` how often it came.

    kind: loosened waived unknown contested held policy ended failed trial egress. `since` and `last` are Unix seconds.
    """

    __slots__ = ("count", "id", "kind", "last", "open", "outcome", "risk", "setting", "since", "title", "undo")
    id: str
    kind: str
    setting: str
    title: str
    risk: str
    outcome: str
    undo: str
    since: int
    last: int
    count: int
    open: int


def digest(parts: "tuple[str, ...]") -> str:
    """Name a difference: 16 hex digits of SHA-256 over its parts."""
    mixed = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        mixed.update(b"%d:" % len(raw))
        mixed.update(raw)
    return binascii.hexlify(mixed.digest()[:8]).decode()


def risk_of(setting: "Setting", wanted: "Value", found: "Value") -> "tuple[str, tuple[str, ...]]":
    """Return the plain-language risk of going from wanted to found, and the exposures behind it."""
    options = setting.newly(wanted, found)
    risks: "list[str]" = []
    exposes: "list[str]" = []
    for option in options:
        if option.risk and option.risk not in risks:
            risks.append(option.risk)
        exposes.extend(option.exposes)
    text = " ".join(risks + [who(tuple(exposes))]).strip()
    return text, tuple(sorted(set(exposes)))


def undo_of(setting: "Setting", finding: "Finding") -> str:
    """Say how the owner gets it private again: at once by us, or by changing what only the owner can judge."""
    if setting.enforce:
        return "To undo it yourself: privet tighten %s" % setting.id
    found = finding.found
    new = tuple([w for w in found if w not in finding.wanted]) if type(found) is tuple else found  # type: ignore[operator]
    return "If it does not belong there, remove it; if it does: privet loosen %s %s --for 30d" % (
        setting.id,
        typed(new),
    )


def warning_of(finding: "Finding", setting: "Setting", waiver: "Waiver | None", clock: "Clock") -> PrivacyWarning:
    """Write the warning for one finding that is not fine; its outcome is filled in after enforcement."""
    found = finding.found
    if finding.status == UNKNOWN or found is None:
        title = "Cannot tell whether this is still private: %s" % setting.title
        risk = setting.risk
        exposes: "tuple[str, ...]" = ("unknown", finding.cause)
    else:
        risk, exposes = risk_of(setting, finding.wanted, found)
        said = "%s: less private now (%s) than it should be (%s)" if bare(found) else "%s: now %s, should be %s"
        title = said % (setting.title, brief(spell(found)), brief(spell(finding.wanted)))
    epoch = str(waiver.since) if waiver is not None else ""
    return PrivacyWarning(
        id=digest((finding.status, setting.id, spell(found), epoch) + tuple(exposes)),
        kind=finding.status,
        setting=setting.id,
        title=title,
        risk=risk,
        outcome=brief(finding.cause),
        undo=undo_of(setting, finding),
        since=clock.wall,
        last=clock.wall,
        count=1,
        open=1,
    )


def current(
    findings: "tuple[Finding, ...]", settings: "dict[str, Setting]", waivers: "tuple[Waiver, ...]", clock: "Clock"
) -> "tuple[PrivacyWarning, ...]":
    """Write the warnings that the findings of this moment call for."""
    made = []
    for finding in findings:
        if finding.status not in (LOOSENED, WAIVED, UNKNOWN):
            continue
        covering = None
        for waiver in waivers:
            if waiver.setting == finding.setting and finding.status == WAIVED:
                covering = waiver
        made.append(warning_of(finding, settings[finding.setting], covering, clock))
    return tuple(made)


def edges(
    known: "tuple[PrivacyWarning, ...]", now: "tuple[PrivacyWarning, ...]", clock: "Clock"
) -> "tuple[tuple[PrivacyWarning, ...], tuple[PrivacyWarning, ...]]":
    """Compare with what was told before: return (to deliver now, to remember).

    New: deliver. Lasting: nothing. Gone: closed, remembered. Back within QUIET: counted, not delivered again; a
    different difference has another id, so it is always delivered. What is remembered has the newest last.
    """
    called = {w.id for w in now}
    before = {w.id: w for w in known}
    fresh, kept = [], []
    for old in [w for w in known if w.id not in called]:
        if old.open:
            kept.append(replace(old, open=0, last=clock.wall))
        elif not past(old, clock):
            kept.append(old)
    for warning in now:
        found = before.get(warning.id)
        if found is None or (not found.open and past(found, clock)):
            fresh.append(warning)
            kept.append(warning)
        elif found.open:
            kept.append(found)
        else:
            kept.append(replace(found, open=1, last=clock.wall, count=found.count + 1))
    return tuple(fresh), tuple(kept[-KEPT:])


def past(warning: PrivacyWarning, clock: "Clock") -> bool:
    """Say whether a closed warning is old news; a clock that ran backwards makes it old."""
    return not 0 <= clock.wall - warning.last < QUIET


def notable(kind: str, setting: str, title: str, risk: str, outcome: str, clock: "Clock") -> PrivacyWarning:
    """Write a warning about an event rather than a finding (contested, held, policy, ended, failed)."""
    return PrivacyWarning(
        id=digest((kind, setting, title)),
        kind=kind,
        setting=setting,
        title=title,
        risk=risk,
        outcome=outcome,
        undo="To look: privet explain %s" % setting if setting else "To look: privet status",
        since=clock.wall,
        last=clock.wall,
        count=1,
        open=0,
    )


def told(warning: PrivacyWarning) -> str:
    """Write the warning as the short text that every channel shows."""
    return "\n".join([part for part in (warning.title, warning.risk, warning.outcome, warning.undo) if part])
