"""First boot: no factory secret survives it, and nothing outside reaches the device before that is proven.

    shut -> rotate <kind> … -> prove -> open -> provisioned

The gate is shut before anything else and opened last; whatever fails in between leaves it shut and is told in one
sentence. Each start begins at the gate again and looks at what stands on the device, so it may end at any instant, by
a power cut or by the kill of any process, and the next start goes on. For each credential, what is recorded and what
stands decide what is next (`core.credential.NEXT`):

    recorded | stands:  the old one              the new one              another (the owner was quicker)
    nothing             keep a new one, sealed   -                        -
    staged              put the new one in       try both: active         let go of ours, clean
    active              put the new one in       clean copies: retired    let go of ours, clean
    retired             keep a new one, sealed   -                        -

The new secret is durable in the store, sealed, before the old one is touched: so every cut ends in "old, still shut
in" or "new, known to the owner". Keys of the store: `credential/<kind>/<label>` is the new secret until the owner took
it (whoever shows it puts None there), `rotation/<kind>/<label>` how far the rotation is, `rotations` the list of
them, `memory/<kind>` digests a kind remembers, `first_boot` the phase reached.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from agent.core.credential import (
    ACTIVE,
    CLEAN,
    DONE,
    DROP,
    ENTROPY,
    FACTORY,
    INSTALL,
    NEW,
    OLD,
    OPEN,
    PROVE,
    PROVEN,
    PROVISIONED,
    SHUT,
    STAGE,
    STAGED,
    Found,
    generate,
    next_act,
    next_phase,
    next_state,
)
from agent.core.errors import Failed, Missing, PrivetError
from agent.core.record import Record
from agent.core.secret import Secret
from agent.guard.books import Store
from agent.guard.rotations import Rotations, packed
from agent.system.door import System
from agent.system.parts import Credential

if TYPE_CHECKING:
    from agent.core.record import Params

MARKER = "/var/lib/privet/provisioned"  # an empty file for those who may not open the store; the store is the truth
LATER = "/var/lib/privet/later"  # beside it: a later start has something to finish
LIMIT = 8  # acts on one credential in one start; five are the longest way


class Gate(Protocol):
    """What keeps the outside out. Both hold at once and after a restart of the device when they return."""

    def shut(self) -> None:
        """Let nothing in."""

    def open(self) -> None:
        """Let in what the policy allows."""


class Attempt(Protocol):
    """A further real try of a secret, beyond what the kind itself does: a login over loopback, say."""

    def __call__(self, label: str, secret: Secret) -> bool | None:
        """Say whether the secret opened the door; None when there is no such door."""


class Teller(Protocol):
    """Whoever shows the owner where first boot stands; nothing it does can fail."""

    def reached(self, phase: str, kinds: tuple[str, ...]) -> None:
        """Tell that a phase begins; the last one, that all is over."""

    def failed(self, why: str) -> None:
        """Tell that it could not be finished."""


class Reached(Record):
    """What came of a first boot: the phase it ended in, and the factory credentials that are (again) on the device."""

    __slots__ = ("phase", "returned")
    phase: str
    returned: tuple[str, ...]


class FirstBoot(Rotations):
    """One run of it. `kinds` are (name, part, params) in the order of the policy, `attempts` further tries by kind."""

    def __init__(
        self,
        system: System,
        store: Store,
        gate: Gate,
        kinds: Sequence[tuple[str, Credential, "Params"]],
        attempts: Mapping[str, Attempt] | None = None,
        signs: Teller | None = None,
    ) -> None:
        super().__init__(store)
        self.system = system
        self.gate = gate
        self.kinds = {name: (kind, params) for name, kind, params in kinds}
        self.attempts = dict(attempts or {})
        self.signs = signs
        self.finishes = True  # whether a later start does what had to wait

    def run(self) -> Reached:
        """Go from wherever the device is to provisioned, or raise one sentence and leave the gate shut.

        On a provisioned device nothing is changed: it is only looked at again, cheaply, since every hash and key that
        was looked at before is remembered.
        """
        try:
            done = self.provisioned()
        except PrivetError:
            self.gate.shut()  # a store that cannot be read proves nothing
            raise
        if done:
            returned = self.look_again()
            self.mark()  # power may have gone between the record and the mark
            return Reached(phase=PROVISIONED, returned=returned)
        phase = ""
        try:
            while phase != PROVISIONED:
                phase = next_phase(phase, tuple(self.kinds))
                if self.signs is not None and phase != PROVISIONED:
                    self.signs.reached(phase, tuple(self.kinds))
                self.enter(phase)
        except PrivetError as error:
            with suppress(PrivetError):  # the store itself may be what failed
                self.store.append("first_boot", {"phase": phase, "failed": str(error)})
            if self.signs is not None:
                self.signs.failed(str(error))
            raise Failed(f"first boot stopped at {phase}, and the device stays shut in: {error}") from error
        if self.signs is not None:
            self.signs.reached(PROVISIONED, tuple(self.kinds))
        return Reached(phase=PROVISIONED, returned=())

    def enter(self, phase: str) -> None:
        """Do what a phase is for, then record that it was reached."""
        if phase == SHUT:
            self.gate.shut()
            self.system.remove(MARKER)  # of a life that the store knows nothing of: a cloned card, a memory begun anew
        elif phase == PROVEN:
            for name in self.kinds:
                self.prove(name)
        elif phase == OPEN:
            self.gate.open()
        elif phase != PROVISIONED:
            self.rotate(phase.split(" ", 1)[1])
        values: dict[str, Any] = {"first_boot": {"phase": phase}}
        if phase == PROVISIONED:  # what the old ones were need not be known any longer
            values |= self.forgotten(self.kinds)
        self.store.put(values, (("first_boot", {"phase": phase}),))
        if phase == PROVISIONED:
            self.mark()

    def mark(self) -> None:
        """Leave the marks that first boot is over, and whether a later start is to look again; both only hint."""
        late = [(kind, params) for kind, params in self.kinds.values() if getattr(kind, "LATE", False)]
        waiting = any(kind.awaits(self.system, params) for kind, params in late)  # type: ignore[attr-defined]
        for path, wanted in ((LATER, waiting), (MARKER, True)):
            try:
                self.system.stat(path)
                there = True
            except Missing:
                there = False
            if wanted and not there:
                self.system.write(path, b"", 0o644)
            elif there and not wanted:
                self.system.remove(path)

    def rotate(self, name: str) -> None:
        """Finish what was begun for a kind, then find its factory credentials and replace each."""
        kind, params = self.kinds[name]
        for label in self.labels(name):
            found, state = self.recorded(name, label)
            self.turn(found, state)
        for found in kind.find(self.system, params, self.memory(name)):
            self.turn(found, FACTORY)
        self.keep_memory(name)

    def turn(self, found: Found, state: str) -> None:
        """Take one credential through its rotation, one act after the other, looking at the device before each."""
        kind, params = self.kinds[found.kind]
        for _ in range(LIMIT):
            new = self.staged(found)
            stands = kind.standing(self.system, params, found, new)
            if state in (STAGED, ACTIVE) and stands == OLD and found.owner and new is None:
                state = FACTORY  # it was handed out before it was put in: the owner gets another
            act = next_act(state, stands)
            if act == DONE:
                return
            if act == INSTALL:
                kind.replace(self.system, params, found, new)
                state = next_state(act)
                continue
            if act == PROVE:
                kind.prove(self.system, params, found, new)
                self.attempt(found)
            elif act in (CLEAN, DROP):
                kind.clean(self.system, params, found)
            if act == CLEAN:  # what somebody else set is judged by `find` like any other
                kind.remember(self.system, params, found, self.memory(found.kind))
            state = next_state(act)
            self.keep(found, state, act)
        raise Failed(f"{found.label} does not stay as it was set; find the program that also changes it, stop it")

    def keep(self, found: Found, state: str, act: str) -> None:
        """Record how far a rotation is, in one durable act together with the secret it brings or lets go of."""
        name = f"{found.kind}/{found.label}"
        row = {
            "state": state,
            "reason": found.reason,
            "owner": found.owner,
            "old": None if found.old is None else found.old.reveal(),
            "trace": found.trace,
        }
        values: dict[str, Any] = {f"rotation/{name}": row}
        if act == STAGE:
            if found.owner:
                make = getattr(self.kinds[found.kind][0], "generate", generate)  # its product may take no long ones
                values[f"credential/{name}"] = make(self.system.entropy(ENTROPY)).reveal()
            listed = [list(pair) for pair in self.rotations()]
            if [found.kind, found.label] not in listed:
                values["rotations"] = [*listed, [found.kind, found.label]]
        elif act == DROP:
            values[f"credential/{name}"] = None
        if act == CLEAN:
            values[f"memory/{found.kind}"] = packed(self.memory(found.kind))
        told = {"kind": found.kind, "label": found.label, "act": act, "state": state, "reason": found.reason}
        self.store.put(values, (("rotation", told),))

    def prove(self, name: str) -> None:
        """Look at one kind afresh: no factory credential is found, each new one works and each old one is refused."""
        kind, params = self.kinds[name]
        left = kind.find(self.system, params, self.memory(name))
        if left:
            raise Failed(f"{left[0].label} still has a factory secret ({left[0].reason}); start the device again")
        for label in self.labels(name):
            found, _ = self.recorded(name, label)
            new = self.staged(found)
            stands = kind.standing(self.system, params, found, new)
            if stands == OLD:
                raise Failed(f"the factory secret of {label} is back; start the device again")
            if stands == NEW:
                kind.prove(self.system, params, found, new)
                self.attempt(found)

    def attempt(self, found: Found) -> None:
        """Try the old secret at the further door, where there is one."""
        tried = self.attempts.get(found.kind)
        if tried is not None and found.old is not None and tried(found.label, found.old):
            raise Failed(f"the factory secret of {found.label} still opens a door; start the device again")

    def look_again(self) -> tuple[str, ...]:
        """Name the factory credentials on a provisioned device: none, unless someone brought one back.

        A kind that is `LATE` replaces now what had to wait at first boot; it locks nobody out.
        """
        returned: list[str] = []
        for name, (kind, params) in self.kinds.items():
            if getattr(kind, "LATE", False):
                if self.finishes:
                    self.late(name)
                continue
            returned += [f"{name}/{found.label}" for found in kind.find(self.system, params, self.memory(name))]
            self.keep_memory(name)
        return tuple(returned)

    def late(self, name: str) -> None:
        """Replace what had to wait; what fails stands, is named, and is tried again at the next start."""
        kind, params = self.kinds[name]
        try:
            begun = any(self.recorded(name, label)[0].old is not None for label in self.labels(name))
            if begun or kind.find(self.system, params, self.memory(name)):
                self.rotate(name)
                self.prove(name)
                self.store.put(self.forgotten((name,)))
        except PrivetError as error:
            self.store.append("first_boot", {"phase": f"late {name}", "failed": str(error)})
