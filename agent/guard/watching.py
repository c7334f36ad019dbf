"""The directories that settings live in, watched: what is moved in them decides when to look, never what is found."""

import selectors
from contextlib import suppress

from agent.guard.guard import Guard
from agent.system.door import Watch


class Watching:
    """Watches for one guard, once it is opened; tells it from then on, once it is served."""

    def __init__(self, guard: Guard, selector: selectors.BaseSelector) -> None:
        self.guard = guard
        self.selector = selector
        self.watch: Watch | None = None
        self.watched: set[str] = set()

    def open(self) -> None:
        """Watch the directories that are known by now; what is moved in them waits to be told."""
        self.watched = set(self.guard.posture.places)
        self.watch = self.guard.system.watch(sorted(self.watched))

    def serve(self) -> None:
        """Tell the guard what is moved, and was."""
        if self.watch is None:
            self.open()
        if self.watch is not None:
            self.selector.register(self.watch.fileno(), selectors.EVENT_READ, self.moved)

    def moved(self, mask: int) -> None:
        """Answer changes in watched directories."""
        if self.watch is not None:
            self.guard.changed(set(self.watch.events()))

    def more(self) -> None:
        """Watch the directories that the latest look has found."""
        found = set(self.guard.posture.places) - self.watched
        if found and self.watch is not None:
            self.watched |= found
            self.watch.add(sorted(found))
            self.guard.system.writers(sorted(found))

    def close(self) -> None:
        """Watch no more; a start that failed at its first look was never served."""
        if self.watch is not None:
            with suppress(KeyError):
                self.selector.unregister(self.watch.fileno())
            self.watch.close()
