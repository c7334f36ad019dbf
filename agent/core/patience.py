"""How long to wait for an answer before the same is sent once more: by how long answers took lately (RFC 6298).

A broker that many devices speak to at once answers late. Devices that all repeat after a fixed while then send it more
the later it answers, until it does nothing else; those that wait as long as answers take let it recover.
"""

FIRST = 5  # seconds; no less, however quick the answers are
LONGEST = 300


class Patience:
    """The wait of one sender, in whole seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self.mean = self.spread = 0  # eighths and quarters of a second: the smoothed delay and how much it varies
        self.seconds = FIRST
        self.timed: tuple[tuple[int, int], int] | None = None  # the record whose answer is timed, and when it was sent

    def sent(self, record: tuple[int, int], now: int) -> None:
        """A record (start, number) went out for the first time: time its answer, unless another's is timed."""
        if self.timed is None:
            self.timed = (record, now)

    def answered(self, record: tuple[int, int], now: int) -> None:
        """All up to a record are answered; a wait that had grown stays until a delay was measured again."""
        if self.timed is None or record < self.timed[0]:
            return
        delay = max(0, now - self.timed[1])
        self.timed = None
        if self.mean:
            self.spread += abs(delay - self.mean // 8) - self.spread // 4
            self.mean += delay - self.mean // 8
        else:
            self.mean, self.spread = 8 * delay, 2 * delay
        self.seconds = self.usual()

    def usual(self) -> int:
        """Return how long to wait by what was measured."""
        return min(max(FIRST, self.mean // 8 + max(1, self.spread)), LONGEST)

    def ended(self) -> None:
        """The wait is over and nothing was let go of: twice as long next time.

        Records go out again now. Nobody can tell which of the two an answer is for: none is timed, and what was learned
        by waiting longer stays until one is (Karn's algorithm). Nor does it count that something was heard meanwhile:
        it may be the answer to what was sent twice before.
        """
        self.timed = None
        self.seconds = min(self.seconds * 2, LONGEST)

    def anew(self) -> None:
        """A new connection: what was timed on the one before says nothing."""
        self.timed = None
        self.seconds = self.usual()
