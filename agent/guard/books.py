"""What the guard remembers across restarts, as records on top of the sealed store."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from agent.core.clock import Clock
from agent.core.consent import Consent, spread
from agent.core.consent import stored as as_consent
from agent.core.errors import PrivetError
from agent.core.policy import Policy
from agent.core.record import Value, as_map, from_map, frozen, replace
from agent.core.role import Grant
from agent.core.setting import Setting
from agent.core.versions import fits
from agent.core.waiver import Waiver, advance, stored
from agent.core.warn import PrivacyWarning

Journal = tuple[str, Mapping[str, Any]]
TICKS = 100  # of the start of a process, in a second, on every Linux


class Store(Protocol):
    """The sealed, durable key/value store and journal (agent.system.store)."""

    def get(self, name: str) -> Any:
        """Return a value, or None."""

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names that begin so."""

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """Keep values (None removes) and journal entries, all or nothing, durable on return."""

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add one journal entry, durable on return; returns its sequence number."""


class Books:
    """Typed reading and writing of the guard's state."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.waivers = tuple(stored(row) for row in store.get("waivers") or ())
        self.warnings = tuple(from_map(PrivacyWarning, row) for row in store.get("warnings") or ())
        rows = [as_consent(row) for row in store.get("consents") or ()]
        self.consents = {(consent.purpose, consent.recipient): consent for consent in rows}
        self.grants = tuple(from_map(Grant, row) for row in store.get("grants") or ())

    def next_boot(self) -> int:
        """Count this start, durably, before anything is numbered with it."""
        boot = int(self.store.get("boot") or 0) + 1
        self.store.put({"boot": boot})
        return boot

    def keep_waivers(self, waivers: tuple[Waiver, ...], journal: tuple[Journal, ...] = ()) -> None:
        """Remember the waivers in force together with why they changed."""
        self.store.put({"waivers": [as_map(w) for w in waivers]}, journal)
        self.waivers = waivers

    def begin(self, start: str, clock: Clock, said: Mapping[str, Any]) -> None:
        """Remember in one piece which start of the device this is, and what it has left of the waivers."""
        same = start != "" and self.store.get("start") == start
        ticks = start.rpartition(" ")[2]
        began = int(ticks) // TICKS if ticks.isdecimal() else 0
        waivers = tuple(advance(waiver, clock, same, began) for waiver in self.waivers)
        self.store.put({"waivers": [as_map(w) for w in waivers], "start": start}, (("started", said),))
        self.waivers = waivers

    def shed(self, settings: Mapping[str, Setting]) -> tuple[str, ...]:
        """End the leaves for what this version does not know, close the warnings about it, and name it."""
        over = tuple(w for w in self.waivers if not fits(settings.get(w.setting), w.ceiling))
        if over:
            ended: tuple[Journal, ...] = tuple(("waiver_ended", {"setting": w.setting}) for w in over)
            self.keep_waivers(tuple(w for w in self.waivers if w not in over), ended)
        gone = {w.setting for w in over} | {w.setting for w in self.warnings if w.setting and w.open} - set(settings)
        self.keep_warnings(tuple(replace(w, open=0) if w.setting in gone else w for w in self.warnings))
        return tuple(sorted(gone))

    def keep_warnings(self, warnings: tuple[PrivacyWarning, ...], journal: tuple[Journal, ...] = ()) -> None:
        """Remember what was told; nothing is written when nothing changed."""
        if warnings != self.warnings or journal:
            self.store.put({"warnings": [as_map(w) for w in warnings]}, journal)
            self.warnings = warnings

    def keep_consents(
        self, answers: Sequence[Consent], more: Mapping[str, Any] | None = None, notes: Sequence[Journal] = ()
    ) -> None:
        """Remember answers and journal them, in one piece with `more` values and notes."""
        consents = {**self.consents, **{(one.purpose, one.recipient): one for one in answers}}
        said = [("consent", as_map(one)) for one in answers]
        self.store.put({"consents": rows_of(consents), **(more or {})}, (*said, *notes))
        self.consents = consents

    def spread(self, policy: Policy) -> None:
        """Take up answers of a version that asked once for all recipients; a full disk keeps them as they were."""
        consents = spread(self.consents, policy)
        if consents != self.consents:
            with suppress(PrivetError):
                self.store.put({"consents": rows_of(consents)})
            self.consents = consents

    def baseline(self) -> dict[str, Value]:
        """Return the baseline in force, empty before the first policy."""
        return dict(frozen(self.store.get("baseline") or {}))


def rows_of(consents: Mapping[tuple[str, str], Consent]) -> list[dict[str, Any]]:
    """Write answers as they are kept."""
    return [as_map(consents[key]) for key in sorted(consents)]
