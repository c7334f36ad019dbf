"""When a link tries again, so that a fleet which lost its broker is spread out whenever that comes back.

A link that never had a broker tries soon, then ever later: full jitter, over a range that doubles up to `most`. Growing
ranges are no way to come back by: links that all failed at the same moments crowd at the beginning of each range, and
after an outage of five seconds the first second brings a quarter of them. So a link that had a broker draws its own
moment out of the whole of `most`, once, and then tries at this same moment of each `most`. However long the outage
was, the moments lie evenly over what comes after it: the last is back after `most`.
"""

import secrets

DOUBLINGS = 16  # more change nothing


class Again:
    """The moments of one link, in seconds of its clock; `first` and `most` in milliseconds."""

    def __init__(self, first: int, most: int) -> None:
        self.first, self.most = first, most
        self._failures = 0
        self._moment: float | None = None  # its own, once it has one

    def begin(self, now: float) -> float:
        """Return when the first try is due."""
        return now + drawn(min(self.first, self.most))

    def lost(self, now: float, places: int) -> float:
        """Return when to try after a session that had settled; `places` are the brokers there are to try."""
        self._failures = 0
        self._moment = now + drawn(self.most // places)
        return self._moment

    def failed(self, now: float, places: int) -> float:
        """Return when to try after a try that failed, or a session too short to count."""
        spread = min(self.most, self.first << min(self._failures // places, DOUBLINGS))
        self._failures += 1
        span = self.most // places
        if self._moment is not None and span:
            self._moment += (max(0.0, now - self._moment) * 1000 // span + 1) * span / 1000
            return self._moment
        if spread < self.most:
            return now + drawn(spread)
        self._moment = now + drawn(span)
        return self._moment


def drawn(most: int) -> float:
    """Return seconds drawn from the kernel's randomness, up to `most` milliseconds."""
    return secrets.randbelow(most + 1) / 1000
