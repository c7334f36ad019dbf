"""Real loop devices over files in memory, each ended by name; no other device of the machine is touched."""

import fcntl
import os
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MEMORY = Path("/dev/shm")
CTL_REMOVE = 0x4C81  # from Linux' loop.h


def run(*words: str | Path) -> str:
    """Run a tool."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


class Loop:
    """A loop device, its name and the file behind it."""

    def __init__(self, path: Path, name: str = "", *, scan: bool = False) -> None:
        self.path = path
        words = [f"/dev/{name}"] if name else ["--find", *(["--partscan"] if scan else [])]
        self.node = Path(run("losetup", "--show", *words, path))
        self.name = self.node.name

    def detach(self) -> None:
        """Take the card out."""
        subprocess.run(("losetup", "-d", self.node), capture_output=True, check=False)


class Loops:
    """The loop devices of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: list[Loop] = []
        self._own: list[int] = []

    def insert(self, path: Path, name: str = "", *, scan: bool = False) -> Loop:
        """Put a card in, into the reader of that name if one is given; `scan`: the kernel looks for partitions."""
        made = Loop(path, name, scan=scan)
        self._made.append(made)
        return made

    def own(self) -> str:
        """Return the name of a reader that nobody else finds: one that is used again after its card was taken out."""
        self._own.append(100 + secrets.randbelow(900))
        return f"loop{self._own[-1]}"

    def close(self) -> None:
        """Detach all that were made, and are still attached to the file they were made for."""
        for one in self._made:
            backing = Path(f"/sys/block/{one.name}/loop/backing_file")
            if backing.exists() and backing.read_text().strip() == str(one.path):
                one.detach()
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        for number in self._own:
            with suppress(OSError):  # still busy: it stays, without a file behind it
                fcntl.ioctl(control, CTL_REMOVE, number)
        os.close(control)


@contextmanager
def loops() -> Iterator[Loops]:
    """Give loop devices, and end them."""
    with tempfile.TemporaryDirectory(prefix="privet-loops-", dir=MEMORY) as name:
        made = Loops(Path(name))
        try:
            yield made
        finally:
            made.close()
