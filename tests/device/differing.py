"""Cases by the hundred from one seed: the same seed gives the same cases, on any machine.

`PRIVET_DIFFER_SEED` replays a run; each test prints what it ran with.
"""

import hashlib
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import TypeVar

from tests.device.lab import Device

T = TypeVar("T")
SEED = os.environ.get("PRIVET_DIFFER_SEED", "") or secrets.token_hex(4)


class Draw:
    """A stream of choices that a seed and a name settle."""

    def __init__(self, name: str, seed: str = "") -> None:
        self.stem = f"{seed or SEED} {name}".encode()
        self.count = 0
        print(f"PRIVET_DIFFER_SEED={seed or SEED} gives this again ({name})")

    def below(self, most: int) -> int:
        """Return a number from 0 to one less than `most`."""
        self.count += 1
        block = hashlib.sha256(self.stem + self.count.to_bytes(8, "big")).digest()
        return int.from_bytes(block[:8], "big") % most

    def one(self, of: Sequence[T]) -> T:
        """Return one of several."""
        return of[self.below(len(of))]

    def some(self, of: Sequence[T], most: int) -> list[T]:
        """Return up to `most` of several, in a drawn order; the same one may come twice."""
        return [self.one(of) for _ in range(self.below(most + 1))]

    def maybe(self, of_ten: int) -> bool:
        """Return yes this often in ten."""
        return self.below(10) < of_ten


# What `lay` runs.
LAY = """
import base64, json, os, sys
for path, what in json.loads(sys.stdin.read()).items():
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if what.startswith(">"):
        os.symlink(what[1:], path)
    else:
        with open(path, "wb") as file:
            file.write(base64.b64decode(what))
"""


def lay(device: Device, files: dict[str, str]) -> None:
    """Put many files down at once; a text that begins with `>` is a link to what follows."""
    packed = {path: text if text.startswith(">") else b64encode(text.encode()).decode() for path, text in files.items()}
    device.must(["python3", "-c", LAY], json.dumps(packed).encode())
