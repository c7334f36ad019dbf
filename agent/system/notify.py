"""What systemd is told of a process it started (sd_notify(3)): that it is ready, how it stands, that it gets on."""

import os
import socket
import time
from contextlib import suppress

SPARING = 1.0  # seconds between two signs of progress at least


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told; one that does not listen is not waited for."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire, suppress(OSError):
        wire.setblocking(False)
        wire.connect("\0" + path[1:] if path.startswith("@") else path)
        wire.send(state.encode())


def patience(most: float) -> float:
    """Return the longest time to wait in one turn: half of what systemd allows between two signs of progress."""
    word = os.environ.get("WATCHDOG_USEC", "")
    return min(most, int(word) / 2e6) if word.isascii() and word.isdigit() and int(word) > 0 else most


class Pulse:
    """The signs of life of one process. `beat` after work that has ended, never by a timer of its own."""

    def __init__(self) -> None:
        self.said = ""
        self.beaten = -SPARING

    def ready(self, words: str) -> None:
        """Say that the process serves."""
        self.said = words
        notify(f"READY=1\nSTATUS={words}")

    def beat(self, words: str) -> None:
        """Say that the process got on, and how it stands in plain words (one line) when that changed."""
        now = time.monotonic()
        if words != self.said:
            self.said = words
            notify(f"WATCHDOG=1\nSTATUS={words}")
        elif now - self.beaten >= SPARING:
            notify("WATCHDOG=1")
        else:
            return
        self.beaten = now
