"""What the tests measured, told at the end of the run whether or not anything failed."""

import time

BEGUN = time.monotonic()
LINES: list[str] = []


def tell(line: str) -> None:
    """Keep a line for the end."""
    LINES.append(line)
