"""A store on the simulated disk: one file, replaced durably at each put, so that a sweep of cuts meets its writes."""

import os
from typing import Any

import cbor2

from agent.core.errors import Missing
from agent.system.simulated.system import SimulatedSystem

PATH = "/var/lib/privet/books"
GATE = "/var/lib/privet-gate/state"  # not beneath /etc, whose directory the first boot itself must sync


class DiskStore:
    """What the guard asks of its store, over one file."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.system = system
        try:
            kept = cbor2.loads(system.read(PATH))
            system.calls.fsync(system.calls.follow("/", PATH.rpartition("/")[0], os.O_RDONLY))  # what it says stays so
        except Missing:
            kept = {"values": {}, "journal": []}
        self.values: dict[str, Any] = kept["values"]
        self.journal: list[Any] = kept["journal"]

    def get(self, key: str) -> Any:
        """Return a value, or None."""
        return self.values.get(key)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names that begin so."""
        return tuple(sorted(key for key in self.values if key.startswith(prefix)))

    def put(self, values: dict[str, Any], journal: tuple[tuple[str, dict[str, Any]], ...] = ()) -> None:
        """Keep values and journal entries, all or nothing, durable on return."""
        kept = {key: value for key, value in {**self.values, **values}.items() if value is not None}
        entries = [*self.journal, *([kind, body] for kind, body in journal)]
        self.system.write(PATH, cbor2.dumps({"values": kept, "journal": entries}), 0o600)
        self.values, self.journal = kept, entries

    def append(self, kind: str, body: dict[str, Any]) -> int:
        """Add one journal entry."""
        self.put({}, ((kind, body),))
        return len(self.journal)


class FileGate:
    """A gate that is one file; a device whose file is missing was flashed shut."""

    def __init__(self, system: SimulatedSystem) -> None:
        self.system = system

    def shut(self) -> None:
        """Let nothing in."""
        self.system.write(GATE, b"shut", 0o644)

    def open(self) -> None:
        """Let in what the policy allows."""
        self.system.write(GATE, b"open", 0o644)

    def is_open(self) -> bool:
        """Say what an outsider would find."""
        try:
            return self.system.read(GATE) == b"open"
        except Missing:
            return False
