"""When a device that does not get well goes back to the policy with which it was well.

A start is healthy once the guard was ready and has finished a whole look at the device. Three starts in a row that were
not make the last good policy count again; three more, and no policy counts: every setting stands at its strictest.
"""

LIMIT = 3
NORMAL, GOOD, BARE = "normal", "good", "bare"


def stage(unhealthy: int, known: bool) -> str:
    """Return what to start with after so many unhealthy starts in a row; `known`: there is a last good policy."""
    if unhealthy < LIMIT:
        return NORMAL
    return GOOD if known and unhealthy < 2 * LIMIT else BARE
