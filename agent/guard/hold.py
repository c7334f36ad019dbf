"""Sealed and on the disk at once, sent later: records of a purpose wait for the end of their span (core/pace)."""

from agent.core.pace import due, may_leave, phase

Position = tuple[int, int]


class Hold:
    """What waits of one purpose. Records of an earlier start do not: that they were made before it is all they tell."""

    def __init__(self, span: int, device: str, purpose: str, boot: int) -> None:
        self.span = span
        self.offset = phase(span, device, purpose)
        self.open: Position = (boot, 0)
        self.waits: list[tuple[Position, int]] = []

    def sealed(self, position: Position, now: int, *, figures: bool) -> None:
        """Have everything up to a record wait for its moment."""
        moment = due(self.span, self.offset, now, figures)
        if self.waits and self.waits[-1][1] >= moment:
            moment = self.waits.pop()[1]
        self.waits.append((position, moment))

    def gate(self, now: int) -> Position:
        """Return the last record that may leave."""
        while self.waits and may_leave(self.span, self.waits[0][1], now):
            self.open = self.waits.pop(0)[0]
        return self.open

    def left(self, now: int) -> float:
        """Return the seconds until something may leave, infinity when nothing waits."""
        if not self.waits:
            return float("inf")
        return 0.0 if may_leave(self.span, self.waits[0][1], now) else float(self.waits[0][1] - now)
