"""How far each rotation is, over the store: what first boot reads before it acts and keeps after it did."""

from collections.abc import Iterable
from typing import Any

from agent.core.credential import PROVISIONED, Found, Memory, resume
from agent.core.secret import Secret
from agent.guard.books import Store


class Rotations:
    """The records of first boot in the store; `agent.guard.firstboot` lists the keys."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.memories: dict[str, Memory] = {}

    def provisioned(self) -> bool:
        """Say whether first boot was finished on this device."""
        recorded = self.store.get("first_boot") or {}
        return resume(str(recorded.get("phase", ""))) == PROVISIONED

    def forgotten(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the records of some kinds without their old secrets, which need not be known any longer."""
        rows = {f"rotation/{name}/{label}" for name in names for label in self.labels(name)}
        return {row: {**(self.store.get(row) or {}), "old": None} for row in rows}

    def labels(self, name: str) -> list[str]:
        """Return the label of every credential of a kind that was ever rotated here."""
        return [label for other, label in self.rotations() if other == name]

    def staged(self, found: Found) -> Secret | None:
        """Return the new secret that waits for the owner."""
        value = self.store.get(f"credential/{found.kind}/{found.label}")
        return None if value is None else Secret(value)

    def rotations(self) -> list[tuple[str, str]]:
        """Return (kind, label) of every credential that was ever rotated here."""
        return [(str(kind), str(label)) for kind, label in self.store.get("rotations") or ()]

    def recorded(self, name: str, label: str) -> tuple[Found, str]:
        """Read how far a rotation is."""
        row = self.store.get(f"rotation/{name}/{label}")
        old = None if row["old"] is None else Secret(row["old"])
        found = Found(kind=name, label=label, reason=row["reason"], owner=row["owner"], old=old, trace=row["trace"])
        return found, str(row["state"])

    def memory(self, name: str) -> Memory:
        """Return what a kind remembers."""
        if name not in self.memories:
            row = self.store.get(f"memory/{name}") or {}
            cleared, retired = set(row.get("cleared", ())), set(row.get("retired", ()))
            self.memories[name] = Memory(cleared, retired, not self.provisioned())
        return self.memories[name]

    def keep_memory(self, name: str) -> None:
        """Keep what a kind remembers, if that changed."""
        made = packed(self.memory(name))
        if made != (self.store.get(f"memory/{name}") or packed(Memory(set(), set(), True))):
            self.store.put({f"memory/{name}": made})


def packed(memory: Memory) -> dict[str, list[bytes]]:
    """Return what a kind remembers as plain values."""
    return {"cleared": sorted(memory.cleared), "retired": sorted(memory.retired)}
