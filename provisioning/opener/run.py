"""The opener: a collector whose readings are handed on, in plain text, to outlets on the owner's own machine.

A record is stored, still sealed, before the device is told so: the collector sees to that, whatever happens to the
outlets. What was handed on is a number of arrival, kept durably and moved only after the own broker took each message
and the pages are on the disk. So after a crash the newest readings may come twice, and none is missing. What is
retained at the own broker is written down before it is published: `forget` finds it also after a crash in between.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from agent.core.errors import BadInput, Missing, PrivetError, Refused, Unreadable
from provisioning.collector.receive import Collector, Reading
from provisioning.fleet.safe import names_synced, whole_file
from provisioning.opener.effects import Effect, Page, Publish
from provisioning.opener.outlets import fit, outlet, outlets
from provisioning.opener.own import OwnBroker

BATCH = 500  # readings handed on at once, about
FORGETTING = 3600  # seconds between two times that the store lets go of what was handed on
MEMORY, LOCK = "opener.json", "opener.lock"


class Memory:
    """What an opener keeps in its directory: up to which arrival all was handed on, and what each outlet remembers.

    It belongs to one process from its making to `close`; Refused while another has it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / MEMORY
        self._lock = locked(directory / LOCK)
        self.after, self.agreed = 0, 0
        self.kept: dict[str, dict[str, Any]] = {}
        try:
            read = json.loads(self.path.read_bytes())
            self.after, self.agreed, self.kept = int(read["after"]), int(read["agreed"]), dict(read["kept"])
        except FileNotFoundError:
            pass
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read ({error.strerror}); check its rights") from None
        except (ValueError, KeyError, TypeError):
            raise BadInput(f"{self.path} is damaged; remove it, and what was handed on comes once more") from None

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def of(self, name: str) -> dict[str, Any]:
        """Return what one outlet remembers."""
        return self.kept.setdefault(name, {})

    def keep(self) -> None:
        """Write it down durably."""
        facts = {"after": self.after, "agreed": self.agreed, "kept": self.kept}
        whole_file(self.path, json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())


class Outlets:
    """The outlets of one opener, and where their effects go; `own` and `pages` may be missing when none needs them."""

    def __init__(self, fleet: str, names: Sequence[str], own: OwnBroker | None, pages: Path | None) -> None:
        self.fleet, self.names = fleet, tuple(dict.fromkeys(names))
        self.own, self.pages = own, pages
        for name in self.names:
            if outlet(name).TAKES == "broker" and own is None:
                raise BadInput(f"the outlet {name} publishes on a broker; name your own with --own")
            if outlet(name).TAKES == "pages" and pages is None:
                raise BadInput(f"the outlet {name} writes pages; name their directory with --pages")
        if pages is not None and not pages.is_dir():
            raise Missing(f"{pages} is no directory; make it, or name the one that node_exporter reads")

    def opened(self, readings: Sequence[Reading], memory: Memory) -> list[Effect]:
        """Return what readings lead to at all outlets."""
        return self._all(outlet(name).opened(self.fleet, readings, memory.of(name)) for name in self.names)

    def resumed(self, memory: Memory) -> list[Effect]:
        """Return what has to be there again."""
        return self._all(outlet(name).resumed(self.fleet, memory.of(name)) for name in self.names)

    def forgotten(self, memory: Memory, device: str, purpose: str) -> list[Effect]:
        """Return what takes readings back, at every outlet that remembers something, asked for now or not."""
        known = [name for name in outlets() if memory.kept.get(name)]
        return self._all(outlet(name).forgotten(self.fleet, memory.of(name), device, purpose) for name in known)

    def do(self, effects: Sequence[Effect]) -> None:
        """Publish and write it all, durably; Unreachable, Unreadable or Refused when that fails."""
        messages = [one for one in effects if isinstance(one, Publish)]
        if messages and self.own is None:
            raise BadInput("something of this opener stays at your own broker; name it with --own")
        for one in effects:
            if isinstance(one, Page):
                self._write(one)
        if messages and self.own is not None:
            self.own.publish(messages)

    def _write(self, page: Page) -> None:
        if self.pages is None:
            raise BadInput("a page of this opener is still there; name its directory with --pages")
        path = self.pages / page.name
        if page.content:
            whole_file(path, page.content, 0o644)  # whoever reads the directory is another user
        else:
            removed(path)

    @staticmethod
    def _all(made: Iterable[list[Effect]]) -> list[Effect]:
        return list(chain.from_iterable(made))


def locked(path: Path) -> int:
    """Hold a file for this process alone; Refused while another does."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unreadable(f"{path} cannot be opened ({error.strerror}); check its rights") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise Refused(f"an opener works with {path.parent} already; end it first") from None
    return held


def removed(path: Path) -> None:
    """Remove a file durably."""
    try:
        path.unlink(missing_ok=True)
        names_synced(path.parent)
    except OSError as error:
        raise Unreadable(f"{path} cannot be removed ({error.strerror}); check the rights") from None


class Opener:
    """Hands on what a collector has stored. Call `turn` after each turn of the line."""

    def __init__(self, collector: Collector, to: Outlets, memory: Memory, say: Callable[[str], None]) -> None:
        self.collector, self.to, self.memory = collector, to, memory
        self.handed = self.odd = 0  # readings
        self._say, self._said = say, ""
        self._session = -1
        self._forgetting = time.monotonic() + FORGETTING

    def turn(self) -> int:
        """Hand on what is new, up to a batch; return how many readings. A neighbour that fails is told, and waits."""
        try:
            count = self._hand_on()
        except PrivetError as error:
            if str(error) != self._said:
                self._say(str(error))
            self._said = str(error)
            return 0
        if count:
            self._said = ""
        elif time.monotonic() >= self._forgetting:
            self.let_go()
        return count

    def let_go(self) -> None:
        """Let the store forget what was handed on: an opener is no second archive."""
        self._forgetting = time.monotonic() + FORGETTING
        if next(self.collector.readings(self.memory.after), None) is None:
            with self.collector.store.transaction():
                self.collector.store.forget(int(time.time()) + 1)

    def forget(self, device: str = "", purpose: str = "") -> int:
        """Take back what stays in plain text of a device and a purpose, "" for all; return how many things."""
        if self.to.own is not None:
            self.to.own.connect()
        effects = self.to.forgotten(self.memory, device, purpose)
        self.to.do(effects)
        self.memory.keep()
        return len(effects)

    def _hand_on(self) -> int:
        own = self.to.own
        if own is not None:
            own.connect()
        if self._session != (own.sessions if own is not None else 0):
            self.to.do(self.to.resumed(self.memory))
            self._session = own.sessions if own is not None else 0
        batch = self._batch()
        if not batch:
            if own is not None:
                own.idle()
            return 0
        effects = self.to.opened([one for one in batch if self._fits(one)], self.memory)
        if any(isinstance(one, Publish) and one.retain for one in effects):
            self.memory.keep()
        try:
            self.to.do(effects)
        except PrivetError:
            self._session = -1  # what the outlets remember may not be there
            raise
        self.memory.after = batch[-1].arrival
        self.memory.keep()
        self.handed += len(batch)
        return len(batch)

    def _batch(self) -> list[Reading]:
        """Return the next readings: whole records, about a batch."""
        batch: list[Reading] = []
        for one in self.collector.readings(self.memory.after):
            if len(batch) >= BATCH and one.arrival != batch[-1].arrival:
                break
            batch.append(one)
        return batch

    def _fits(self, one: Reading) -> bool:
        """Keep out a reading whose names no profile can declare: it could reach for topics of others."""
        if fit(one):
            return True
        self.odd += 1
        if self.odd == 1:
            self._say("a device sent a reading under a name that no profile can declare; such are not handed on")
        return False
