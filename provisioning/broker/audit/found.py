"""What trying a door finds: three verdicts, never a guess."""

from agent.core.record import Record

OPEN, SHUT, UNKNOWN = "open", "shut", "unknown"


class Found(Record):
    """The verdict on a door, and in one sentence what happened when it was tried."""

    __slots__ = ("said", "verdict")
    verdict: str
    said: str


class Door(Record):
    """One way in: a short name, what is tried, what an open one lets others do, and how to mend it."""

    __slots__ = ("mend", "name", "risk", "title")
    name: str
    title: str
    risk: str
    mend: str


def opened(said: str) -> Found:
    """It opened."""
    return Found(verdict=OPEN, said=said)


def shut(said: str) -> Found:
    """It was tried and held."""
    return Found(verdict=SHUT, said=said)


def unclear(said: str) -> Found:
    """It could not be tried, or the answer says neither."""
    return Found(verdict=UNKNOWN, said=said)
