"""What a start shut is opened again, as far as the guard had left it open.

A start that finds a broken firewall, a recovery file, or no time to do its work shuts the device in both directions.
Whoever lets less through than was declared is private, so no look at the settings would ever open it again: the device
would be out of its owner's reach, and of its fleet's, until a start that goes well.
"""

from agent.core.errors import PrivetError
from agent.core.record import frozen
from agent.guard.early import DIRECTIONS
from agent.guard.executor import apply
from agent.providers.linux import nft
from agent.system.door import System


def reopen(system: System) -> tuple[str, ...]:
    """Load what is kept for each direction in which the kernel lets less through; return which that were."""
    opened = []
    for direction in DIRECTIONS:
        params = frozen({"direction": direction})
        try:
            reading = nft.probe(system, params)
            live, kept = reading.live, reading.kept
            if isinstance(live, tuple) and isinstance(kept, tuple) and set(live) < set(kept):
                apply(system, nft.steps(params, kept))
                opened.append(direction)
        except PrivetError:  # what cannot be loaded stays shut; the look at the settings says why
            continue
    return tuple(opened)
