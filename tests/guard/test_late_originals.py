"""What may be changed on a full disk before the record of how it was is written, and what may not."""

import pytest

from agent.core.errors import PrivetError
from agent.core.plan import Own, Write
from agent.guard import originals
from agent.guard.late import LateOriginals
from agent.system.simulated import SimulatedSystem

FOREIGN = Write(path="/etc/foreign.conf", content=b"ours\n", mode=0o644, uid=0, gid=0)
OURS = Write(path="/etc/foreign.d/zz-privet.conf", content=b"ours\n", mode=0o644, uid=0, gid=0)
RIGHTS = Own(path="/etc/foreign.conf", mode=0o600, uid=0, gid=0)


@pytest.fixture
def crowded() -> SimulatedSystem:
    """A device whose disk is full."""
    made = SimulatedSystem()
    made.edit("/etc/foreign.conf", b"theirs\n", mode=0o644)
    made.disk.capacity = made.disk.used()
    return made


def test_originals_that_wait(crowded: SimulatedSystem) -> None:
    """Rights and files of our own may be changed before the record is there; it then tells what was before us."""
    late = LateOriginals()
    late.record(crowded, (RIGHTS, OURS))
    crowded.own(RIGHTS.path, RIGHTS.mode, 0, 0)
    late.record(crowded, (RIGHTS,))
    assert originals.all_kept(crowded) == ((), ())
    crowded.disk.capacity = None
    late.record(crowded, (RIGHTS,))
    kept, _ = originals.all_kept(crowded)
    assert [(k.thing.kind, k.before.form, k.before.mode) for k in kept] == [
        ("file", "absent", 0),
        ("rights", "rights", 0o644),
    ]
    assert not late.held


def test_a_foreign_file_is_not_changed_without_its_original(crowded: SimulatedSystem) -> None:
    """What somebody else wrote would be gone for good."""
    with pytest.raises(PrivetError, match="the disk is full"):
        LateOriginals().record(crowded, (FOREIGN,))


def test_twin_that_needs_every_original_refuses_rights_too(crowded: SimulatedSystem) -> None:
    """Known bad: the recorder as it was keeps the guard from closing a file that everybody can read."""
    with pytest.raises(PrivetError, match="the disk is full"):
        originals.record(crowded, (RIGHTS,))
