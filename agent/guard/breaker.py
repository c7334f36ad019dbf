"""The end of a boot loop: starts are counted before anything can go wrong, and a good one clears the count.

The count lies beside the sealed store, so that it is read and judged whatever state that is in. A count that is damaged
begins anew: a loop counts up again, and nothing is given up for a few lost bits.
"""

from contextlib import suppress

from agent.core.errors import Missing, PrivetError, Tampered, Unreadable
from agent.core.frame import framed, unframed
from agent.system.door import System

FOLDER = "/var/lib/privet"
COUNT = f"{FOLDER}/starts.cbor"


def begin(system: System) -> int:
    """Count this start, durably; return how many before it, in a row, never got well.

    A disk that takes nothing keeps no start from going on: a guard that does not run is worse than one not counted.
    """
    before = unhealthy(system)
    with suppress(Unreadable):
        system.make_directory(FOLDER, 0o700)
        system.write(COUNT, framed("STARTS", {"unhealthy": before + 1}), 0o600)
    return before


def unhealthy(system: System) -> int:
    """Return how many starts in a row never got well."""
    try:
        count = unframed("STARTS", system.read(COUNT, 4096)).get("unhealthy")
    except (Missing, Tampered, Unreadable):
        return 0
    return count if isinstance(count, int) and count >= 0 else 0


def well(system: System) -> None:
    """This start got well: the next one begins to count anew."""
    try:
        system.remove(COUNT)
    except PrivetError:  # a disk that takes nothing now will be told about by others; at worst a start counts
        return
