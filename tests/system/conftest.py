"""The doors under test: the real one beneath a directory, the simulated one, and both on a kernel without openat2."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system.calls import Calls
from agent.system.door import System
from agent.system.real import RealSystem
from agent.system.simulated import SimulatedSystem


class OldKernel(Calls):
    """The real kernel as it was before openat2."""

    def beneath(self, directory: int, path: str, flags: int, links: bool = False) -> int:
        """Refuse, as an old kernel or a sandbox does."""
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)


class Bench:
    """A door, and a foreign hand on the same files."""

    def __init__(
        self,
        system: System,
        foreign: Callable[[str, bytes], None],
        link: Callable[[str, str], None],
        keep: Callable[[str], Callable[[], bytes]],
        hard_link: Callable[[str, str], None],
    ) -> None:
        self.system = system
        self.foreign = foreign  # (path, content): an edit in place that we did not make
        self.link = link  # (path, text): a symbolic link that we did not make
        self.keep = keep  # (path): hold the file itself, whatever becomes of its name; call to read it
        self.hard_link = hard_link  # (path, other): another name for a file, that we did not make
        self.uid = os.getuid()
        self.gid = os.getgid()

    def write(self, path: str, content: bytes = b"content\n", mode: int = 0o644) -> None:
        """Write as the user who runs the tests."""
        self.system.write(path, content, mode, self.uid, self.gid)


def on_real(root: Path, calls: Calls) -> Bench:
    """Put a bench on a directory of this machine."""

    def foreign(path: str, content: bytes) -> None:
        place = Path(str(root) + path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def link(path: str, text: str) -> None:
        place = Path(str(root) + path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(text)

    def keep(path: str) -> Callable[[], bytes]:
        held = root / "kept"
        held.hardlink_to(str(root) + path)
        return held.read_bytes

    def hard_link(path: str, other: str) -> None:
        Path(str(root) + path).hardlink_to(str(root) + other)

    return Bench(RealSystem(str(root), calls, announce=lambda _: None), foreign, link, keep, hard_link)


def on_simulated(openat2: bool) -> Bench:
    """Put a bench on a simulated device."""
    device = SimulatedSystem(openat2=openat2)

    def foreign(path: str, content: bytes) -> None:
        device.edit(path, content, in_place=True)

    def keep(path: str) -> Callable[[], bytes]:
        node = device.disk.find(device.disk.root, path, last=False)
        return lambda: node.kept_content

    return Bench(device, foreign, device.hand.link, keep, device.hand.hard_link)


@pytest.fixture(params=["real", "real without openat2", "simulated", "simulated without openat2"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Give each door in turn."""
    if request.param.startswith("simulated"):
        return on_simulated(openat2="without" not in request.param)
    return on_real(tmp_path, OldKernel() if "without" in request.param else Calls())
