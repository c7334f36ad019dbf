"""Which certificate is shown to the broker: the one that is to follow, or the one in force, by turns.

The guard lays a renewed pair beside the one in force. The old one stays in use until the broker has let us in with the
new one, and is shown at every second try until then: a certificate that the broker does not take costs nothing.
"""

import hashlib
import ssl
import time
from pathlib import Path

from agent.courier import trust

NEXT = "next"  # the folder of the pair that is to follow


class Pairs:
    """The pairs in a courier's home, and the time by which the broker's certificate is judged."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tries = 0
        self.shown = b""  # sha256 of the file of the certificate that is shown
        self.at: tuple[int, float] | None = None  # the guard's time, and the monotonic clock when it came

    def clock(self, now: int) -> None:
        """Judge by this time from now on; by the clock of this device when it is 0."""
        self.at = (now, time.monotonic()) if now else None

    def now(self) -> int:
        """Return the guard's time, carried on."""
        return 0 if self.at is None else self.at[0] + int(time.monotonic() - self.at[1])

    def trusted(self) -> ssl.SSLContext:
        """Return what a link asks for before each try."""
        follows = self.home / NEXT
        folder = follows if self.tries % 2 == 0 and (follows / "cert.pem").exists() else self.home
        self.tries += 1
        self.shown = b""
        now = None if self.at is None else self.now
        context = trust.verified(self.home / "ca.pem", folder / "cert.pem", folder / "key.pem", now)
        self.shown = hashlib.sha256((folder / "cert.pem").read_bytes()).digest()
        return context

    def proven(self) -> bytes:
        """Say which certificate the broker has just let us in with; it is the first to be shown again."""
        self.tries -= 1
        return self.shown
