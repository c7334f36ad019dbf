"""What is remembered of changes of access, so that none is tried for ever and none that is old counts as new."""

from abc import ABC, abstractmethod
from typing import Any

from agent.core.plan import Change
from agent.core.record import Value, frozen
from agent.core.trial import Trial
from agent.guard.books import Store


class Remembered(ABC):
    """Values that were private before, changes that were set back, ways that worked."""

    store: Store
    trial: Trial | None

    @abstractmethod
    def tried(self) -> list[str]:
        """Name the ways that were used just now."""

    @abstractmethod
    def left(self, trial: Trial) -> int:
        """Return the seconds until the deadline of a trial."""

    def held(self, change: Change) -> str:
        """Say why a change of access must wait, or nothing."""
        if self.trial is not None:
            return f"a change of {self.trial.title} is still on trial"
        row = (self.store.get("set_back") or {}).get(change.setting)
        if row is None or frozen(row["wanted"]) != change.wanted or set(self.tried()) - set(row["tried"]):
            return ""
        return f"it was tried and set back: {row['why']}. To try again: privet tighten {change.setting}"

    def live_with(self) -> None:
        """Remember the ways that work while everything is private."""
        tried = self.tried()
        if self.trial is None and tried != self.store.get("lived"):
            self.store.put({"lived": tried})

    def remember(self, name: str, value: Value) -> None:
        """Remember that a setting was private without any trial: its value is nothing new to the owner."""
        known = self.store.get("settled") or {}
        if self.trial is None and (name not in known or frozen(known[name]) != value):
            self.store.put({"settled": {**known, name: value}})

    def retry(self, name: str) -> None:
        """Forget that a change was set back: a person wants it tried again."""
        known = self.store.get("set_back") or {}
        if name in known:
            self.store.put({"set_back": {k: v for k, v in known.items() if k != name}})

    def standing(self) -> dict[str, Any] | None:
        """Say for the status what is on trial."""
        if self.trial is None:
            return None
        return {"setting": self.trial.setting, "title": self.trial.title, "remaining": self.left(self.trial)}
