"""A disk that takes nothing (full, read-only, failing): the guard goes on, and what it had to write comes later.

Entries of the journal, warnings, what counts for less than before and what is only remembered wait in memory, in
order, and are written as soon as the disk takes them again. What gives anybody more than before (a waiver, a consent, a
policy) and every secret is refused instead: it must not be gone, or be there again, after a power cut.

Power that goes meanwhile loses what waits. That is told; and it leaves no less private than a start without it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from agent.core import cbor, original
from agent.core.clock import Clock
from agent.core.consent import GIVEN
from agent.core.errors import PrivetError, Unreadable
from agent.core.journal import Entry, Head, Pruned, Verdict
from agent.core.original import DAEMON, FILE, KERNEL, RIGHTS, UNIT, Thing, things
from agent.core.record import replace
from agent.guard import originals
from agent.guard.books import Journal
from agent.guard.executor import no_room
from agent.system.door import System
from agent.system.parts import Step

AGAIN = 30  # seconds between attempts to write what waits
ENTRIES = 256  # entries that wait at most; the first ones tell how it began, so they are kept
ORIGINALS = 64  # originals that wait at most

# What is remembered, and what is the worse for nobody when it is forgotten at a power cut. `boot` is written before
# anything that is numbered by it, because nothing overtakes what waits.
FIRST = ("policy", "baseline", "newest", "channels")  # may wait while there is no policy yet: it lies in the seed
REMEMBERED = (
    "boot",
    "egress_days",
    "egress_part",
    "good",
    "least",
    "linked",
    "lived",
    "proven",
    "set_back",
    "settled",
    "start",
    "unknown",
    "warnings",
)


class Sealed(Protocol):
    """The store beneath (agent.system.store)."""

    head: Head

    @property
    def gone(self) -> Pruned:
        """What was let go of."""

    def get(self, name: str) -> Any:
        """Return a value, or None."""

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names that begin so."""

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """Keep values and entries, all or nothing, durable on return."""

    def entries(self, since: int = 0, limit: int = 1000) -> tuple[Entry, ...]:
        """Return entries of the journal."""

    def verify(self) -> Verdict:
        """Check the journal."""

    def sizes(self, limit: int) -> tuple[int, tuple[int, ...]]:
        """Return the bytes of all entries, and of the oldest."""

    def prune(self, count: int) -> Pruned:
        """Let the oldest entries go."""

    def close(self) -> None:
        """Close it."""


class LateStore:
    """The store as the guard sees it: what the disk does not take now and what may wait, waits."""

    def __init__(self, store: Any, system: System) -> None:
        self.store: Sealed = store
        self.system = system
        self.cause = ""  # why the disk took nothing when it was asked last; empty while nothing waits
        self.tried = 0
        self.values: dict[str, bytes | None] = {}
        self.notes: list[tuple[Clock, Journal]] = []
        self.lost = 0

    def get(self, name: str) -> Any:
        """Return a value, or None; one that waits counts."""
        if name in self.values:
            waiting = self.values[name]
            return None if waiting is None else cbor.decode(waiting)
        return self.store.get(name)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names that begin so; only what has long been there waits, so none is new."""
        return self.store.keys(prefix)

    def entries(self, since: int = 0, limit: int = 1000) -> tuple[Entry, ...]:
        """Return entries of the journal, without those that wait."""
        return self.store.entries(since, limit)

    def verify(self) -> Verdict:
        """Check the journal on the disk."""
        return self.store.verify()

    @property
    def head(self) -> Head:
        """Return the end of the journal on the disk."""
        return self.store.head

    @property
    def gone(self) -> Pruned:
        """Return what was let go of at the front."""
        return self.store.gone

    def append(self, kind: str, body: Mapping[str, Any]) -> int:
        """Add an entry, which may wait; its number is 0 while it does."""
        numbers = self.put({}, ((kind, body),))
        return numbers[0] if numbers else 0

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """Keep values and entries, durable on return or waiting; what may not wait raises, and then nothing changed."""
        may_wait = all(self.may_wait(name, value) for name, value in changes.items())
        try:
            if self.cause and (self.due() or not may_wait):
                self.write()
            if not self.cause:
                return self.store.put(changes, notes)
        except Unreadable as error:
            self.wait(error)
            if not may_wait:
                raise
        self.values.update({name: None if value is None else cbor.encode(value) for name, value in changes.items()})
        self.hold(notes)
        return ()

    def may_wait(self, name: str, value: Any) -> bool:
        """Say whether a value is only remembered, or leaves nobody more than before."""
        if name in REMEMBERED or name.startswith("deletion/"):
            return True
        if name in FIRST:
            return self.get("policy") is None
        before = self.get(name) or ()
        if name == "waivers":
            known = [leave(row) for row in before]
            return all(leave(row) in known for row in value)
        if name == "consents":
            given = [(row["purpose"], row.get("recipient", "")) for row in before if row["state"] == GIVEN]
            asked = [row for row in value if row["state"] == GIVEN]  # an answer for all recipients has no name in it
            return all({(row["purpose"], row["recipient"]), (row["purpose"], "")} & set(given) for row in asked)
        return False

    def hold(self, notes: Sequence[Journal]) -> None:
        """Let entries wait; the same thing said again while it waits is one entry."""
        clock = self.system.clock()
        known = [note for _, note in self.notes]
        for kind, body in notes:
            if (kind, dict(body)) in known:
                continue
            if len(self.notes) >= ENTRIES:
                self.lost += 1
                continue
            self.notes.append((clock, (kind, dict(body))))

    def due(self) -> bool:
        """Say whether it is time to try again."""
        return bool(self.cause) and self.left() == 0

    def left(self) -> int:
        """Return the seconds until then."""
        return max(0, self.tried + AGAIN - self.system.clock().uptime)

    def wait(self, error: PrivetError) -> None:
        """Note that the disk takes nothing, and why."""
        self.cause, self.tried = str(error), self.system.clock().uptime

    def write(self) -> int:
        """Write all that waits, in order and in one piece, with a note that it is late; return how many entries.

        Unreadable when the disk still takes nothing.
        """
        self.tried = self.system.clock().uptime
        if not self.notes and not self.values:  # it was a file that the disk did not take
            self.cause = ""
            return 0
        late = [(kind, {**body, "late": clock.wall}) for clock, (kind, body) in self.notes]
        since = self.notes[0][0].wall if self.notes else self.system.clock().wall
        told = {"entries": len(late), "lost": self.lost, "since": since, "why": self.cause}
        values = {name: None if value is None else cbor.decode(value) for name, value in self.values.items()}
        self.store.put(values, (*late, ("late", told)))
        self.values, self.notes, self.lost, self.cause = {}, [], 0, ""
        return len(late)

    def finish(self) -> None:
        """Write what waits, if that can be done now: the guard ends."""
        if self.cause:
            with suppress(PrivetError):
                self.write()

    def close(self) -> None:
        """Close the store beneath."""
        self.store.close()


class LateOriginals:
    """Records originals; some changes may be made before the record of how it was can be written.

    May: a file that is ours from its beginning (before it was none), rights, values of the kernel, states of units: a
    few bytes, kept here, and the tighter side without them. May not: the content or the access list of somebody
    else's file, which would be gone for good.
    """

    def __init__(self) -> None:
        self.held: dict[str, originals.Kept] = {}

    def record(self, system: System, steps: tuple[Step, ...]) -> None:
        """Keep the originals of what these steps change, on the disk or, where that may be, here for now."""
        with suppress(PrivetError):
            self.write(system)
        for one in things(steps):
            for found in originals.spread(system, one):
                made = originals.marks(found, steps)
                try:
                    if originals.path_of(found) not in self.held:
                        originals.keep(system, found, made)
                        continue
                except PrivetError as error:
                    if not no_room(error) or not self.may_wait(system, found):
                        raise
                self.hold(system, found, made)

    def may_wait(self, system: System, found: Thing) -> bool:
        """Say whether a thing may be changed before its record is written; one that has an older record may be."""
        if originals.load(system, originals.path_of(found)) is not None:
            return True
        ours = found.kind == FILE and originals.OURS in found.name
        return len(self.held) < ORIGINALS and (ours or found.kind in (RIGHTS, KERNEL, UNIT, DAEMON))

    def hold(self, system: System, found: Thing, made: tuple[bytes, ...]) -> None:
        """Keep an original in memory, or add what we make of the thing to the one that waits."""
        path = originals.path_of(found)
        known = self.held.get(path) or originals.load(system, path)
        before = known.before if known else originals.first(system, found)
        if before is not None:
            kept = known or originals.Kept(thing=found, before=before, ours=())
            ours = kept.ours
            for mark in made:
                ours = original.remembered(ours, mark)
            self.held[path] = replace(kept, ours=ours)

    def write(self, system: System) -> None:
        """Write the originals that wait; the first that the disk does not take ends it with its error."""
        for path, kept in tuple(self.held.items()):
            originals.put_down(system, kept)
            del self.held[path]


def leave(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what one leave is for, and when."""
    return row["setting"], row.get("context", ""), row["since"], row["until"]
