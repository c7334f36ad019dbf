"""How long records of a queue have waited, by the time that the device ran: no clock that jumps makes them old.

A file beside the segments holds, for each quarter of a day that a start of the device lasted, the newest record of that
moment. So nothing waits longer than LONGEST quarters; what is shorter than one between two starts does not count.
"""

from contextlib import suppress

from agent.core.errors import PrivetError
from agent.system.door import System

QUARTER = 6 * 3600  # seconds of uptime
LONGEST = 4 * 180  # quarters that a record waits at most: twice the outage in which nothing is lost
NAME = "ages"
ENTRY = 12  # boot, seq

START = (0, 0)  # before every record

Place = tuple[int, int]


class Ages:
    """The ages of one queue."""

    def __init__(self, system: System, directory: str, owner: tuple[int, int]) -> None:
        self._system, self._path, self._owner = system, f"{directory}/{NAME}", owner
        self._since = system.clock().uptime
        self._whole = False  # whether the file ends with a whole entry, so that one more can be added
        self._rows = self._read()

    def too_old(self, newest: Place) -> Place:
        """Return up to which record everything has waited for too long; `newest` is the last that there is."""
        passed = (self._system.clock().uptime - self._since) // QUARTER
        if passed > 0:
            with suppress(PrivetError):  # on a disk that takes nothing it counts later
                self._add([max([newest, *self._rows[-1:]])] * min(passed, LONGEST + 1))
                self._since += passed * QUARTER
        oldest = self._rows[-LONGEST - 1] if len(self._rows) > LONGEST else START
        return oldest if oldest <= newest else START  # else it is damaged, or nothing of it waits

    def forget(self) -> None:
        """Forget all."""
        self._rows, self._whole = [], False
        self._system.remove(self._path)

    def _add(self, more: list[Place]) -> None:
        """Keep entries: added at the end; all of them written anew when there are twice as many as needed."""
        rows = [*self._rows, *more]
        if self._whole and len(rows) <= 2 * LONGEST:
            self._whole = False
            self._system.append(self._path, packed(more), 0o600, *self._owner)
        else:
            rows = rows[-LONGEST - 1 :]
            self._system.write(self._path, packed(rows), 0o600, *self._owner)
        self._rows, self._whole = rows, True

    def _read(self) -> list[Place]:
        """Read what is there; where it is damaged, waiting begins anew."""
        try:
            content = self._system.read(self._path, 3 * LONGEST * ENTRY)
        except PrivetError:
            return []
        self._whole = len(content) % ENTRY == 0
        parts = [content[at : at + ENTRY] for at in range(0, len(content) - ENTRY + 1, ENTRY)]
        rows = [(int.from_bytes(one[:4], "big"), int.from_bytes(one[4:], "big")) for one in parts]
        return rows if rows == sorted(rows) else []


def packed(rows: list[Place]) -> bytes:
    """Return entries as they stand in the file."""
    return b"".join(boot.to_bytes(4, "big") + seq.to_bytes(8, "big") for boot, seq in rows)
