"""In the sandbox of the units no set-user or set-group bit can be set: the rest of the rights is, and it is said."""

import errno
import os
from pathlib import Path

import pytest

from agent.core.errors import Unreadable
from agent.system.calls import Calls
from agent.system.real import RealSystem


class Restricted(Calls):
    """The kernel behind RestrictSUIDSGID=."""

    def chmod(self, number: int, mode: int) -> None:
        """Refuse what the filter of calls refuses."""
        if mode & 0o6000:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        super().chmod(number, mode)


class Locked(Calls):
    """A file that is locked against change."""

    def chmod(self, number: int, mode: int) -> None:
        """Refuse."""
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def mode_of(path: Path) -> int:
    """Return permission bits."""
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("calls", [Restricted, Calls])
def test_a_shared_home_gets_its_rights_back(tmp_path: Path, calls: type[Calls]):
    """What was 2750 is 0750 again, stricter, and is said once; without the filter it is 2750."""
    told: list[str] = []
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    RealSystem(str(tmp_path), calls(), announce=told.append).own("/home", 0o2750, os.getuid(), os.getgid())
    assert (mode_of(home), len(told)) == ((0o750, 1) if calls is Restricted else (0o2750, 0))


def test_any_other_refusal_stays_one(tmp_path: Path):
    """A file locked against change is not taken for it, whatever bits are asked for."""
    (tmp_path / "file").touch(0o600)
    for mode in (0o640, 0o2640):
        with pytest.raises(Unreadable):
            RealSystem(str(tmp_path), Locked()).own("/file", mode, os.getuid(), os.getgid())
    assert mode_of(tmp_path / "file") == 0o600
