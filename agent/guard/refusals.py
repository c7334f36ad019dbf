"""What came over the network and was refused, in the journal: the first few of an hour, then they are only counted.

Whoever runs the broker decides how much of it comes: an entry for each would fill the disk of the device.
"""

from agent.core.errors import PrivetError
from agent.guard.books import Store
from agent.system.door import System

SPAN, FREE = 3600, 8  # seconds, and entries of one kind that are written in them
KINDS = ("ack", "policy")


class Refusals:
    """Counted by kind and by the kind of the fault, so that neither can be made up without end."""

    def __init__(self, system: System, store: Store) -> None:
        self.system = system
        self.store = store
        self.counted: dict[tuple[str, str], int] = {}  # since the last entry
        self.written: dict[tuple[str, str], list[int]] = {}  # uptime of the latest entries

    def note(self, kind: str, error: PrivetError) -> None:
        """Write one down, with how many were only counted before it, or count it where enough were written lately."""
        place = (kind if kind in KINDS else "other", type(error).__name__)
        now = self.system.clock().uptime
        lately = [at for at in self.written.get(place, ()) if now - at < SPAN]
        if len(lately) >= FREE:
            self.counted[place] = self.counted.get(place, 0) + 1
            return
        self.written[place] = [*lately, now]
        before = self.counted.pop(place, 0)
        self.store.append("refused", {"what": place[0], "why": str(error), "more": before})
