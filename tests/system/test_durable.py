"""Durable changes beyond single calls: old kernels, known paths, rights on the way, any sequence and any cut."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import Missing, PrivetError
from agent.system.real import RealSystem
from agent.system.simulated import KEPT, LOST, SimulatedSystem
from agent.system.simulated.faults import Faulty
from tests.system.conftest import OldKernel


def test_old_kernel_is_announced_once(tmp_path: Path) -> None:
    """Without openat2 the path is walked; the operator is told, once."""
    told: list[str] = []
    system = RealSystem(str(tmp_path), OldKernel(), announce=told.append)
    for name in ("one", "two"):
        system.write("/etc/deep/" + name, b"x", 0o600, os.getuid(), os.getgid())
    assert len(told) == 1 and "openat2" in told[0]


def test_a_sandbox_that_forbids_openat2_is_walked_too() -> None:
    """EPERM instead of ENOSYS, as some sandboxes answer: the same."""
    device = SimulatedSystem()
    told: list[str] = []
    device.announce = told.append

    def forbid(name: str) -> None:
        raise OSError(errno.EPERM, "", name)

    device.calls = faulty = Faulty(device.calls, 2, forbid)
    device.write("/etc/file", b"x", 0o600)
    assert faulty.names_made[1] == "beneath" and faulty.fired == 1 and len(told) == 1
    assert device.read("/etc/file") == b"x"


def test_a_warm_path_costs_one_call() -> None:
    """Once a directory's way is known to be on the disk, it is opened in one call and not synced again."""
    device = SimulatedSystem()
    device.calls = counted = Faulty(device.calls)
    device.write("/etc/a/b/c/file", b"x", 0o600)
    cold = counted.made
    device.write("/etc/a/b/c/file", b"y", 0o600)
    warm = counted.names_made[cold:]
    assert warm.count("beneath") == 1 and warm.count("fsync") == 2 and len(warm) < cold // 2


def test_a_replaced_directory_is_not_taken_for_the_known_one() -> None:
    """A directory that someone removed and made anew is synced into its parent again."""
    device = SimulatedSystem()
    device.write("/etc/a/file", b"x", 0o600)
    device.hand.discard("/etc/a")
    device.hand.directory("/etc/a")
    device.write("/etc/a/file", b"y", 0o600)
    device.crash()
    assert device.read("/etc/a/file") == b"y"


def test_memory_of_synced_names_is_bounded() -> None:
    """A long life does not collect names without end."""
    device = SimulatedSystem()
    for number in range(600):
        device.append("/var/log/list%d" % number, b"x")
    assert len(device._synced) <= 512


@pytest.mark.parametrize("gone", ["/etc/a/b/file", "/etc/a/b", "/etc/a"])
def test_absence_is_made_durable_too(gone: str) -> None:
    """Someone removed the file, or a directory above it, without a sync; after our remove it stays away."""
    device = SimulatedSystem(image=lambda it: it.edit("/etc/a/b/file", b"x"), shipped=False)
    device.hand.discard(gone)
    device.remove("/etc/a/b/file")
    device.crash()
    with pytest.raises(Missing):
        device.read("/etc/a/b/file")


def test_a_shred_is_whole_before_the_name_goes() -> None:
    """However few bytes are taken at once, all are zeros on the disk before the file's name is gone."""
    device = SimulatedSystem(image=lambda it: it.edit("/srv/file", b"a secret of some length"), shipped=False)
    node = device.disk.find(device.disk.root, "/srv/file", last=False)
    device.calls = faulty = Faulty(device.calls, most=7)
    device.shred("/srv/file")
    assert node.kept_content == bytes(23)
    assert faulty.fired > 2 and faulty.names_made.index("fsync") < faulty.names_made.index("unlink")


def test_swept_stays_swept() -> None:
    """What the sweep took does not come back with the next cut."""
    device = SimulatedSystem(image=lambda it: it.edit("/srv/.privet-0123456789abcdef.tmp", b"half"), shipped=False)
    assert len(device.sweep(["/srv"])) == 1
    device.crash()
    assert device.entries("/srv") == ()


def test_append_makes_new_rights_durable() -> None:
    """Rights that an append sets are on the disk when it returns, although content is all it syncs otherwise."""
    device = SimulatedSystem(image=lambda it: it.edit("/var/log/list", b"x", mode=0o644), shipped=False)
    device.append("/var/log/list", b"y", 0o600)
    device.crash()
    assert device.stat("/var/log/list").mode == 0o600 and device.read("/var/log/list") == b"xy"


def test_no_state_on_the_way_is_looser_than_both_ends() -> None:
    """A file or directory that changes hands is at no call open to anyone whom neither end lets in."""

    def image(device: SimulatedSystem) -> None:
        device.edit("/srv/file", b"x", mode=0o660)

    def work(device: SimulatedSystem) -> None:
        device.own("/srv/file", 0o606, 1000, 1000)
        device.make_directory("/srv/new", 0o770, 1000, 1000)

    ends = {("file", 0o660, 0), ("file", 0o606, 1000), ("new", 0o770, 1000)}
    between = set()
    for k in range(1, SimulatedSystem(image=image, shipped=False).count(work) + 1):
        device = SimulatedSystem(image=image, shipped=False)
        assert device.die_at(k, work)
        for name in device.entries("/srv"):
            found = device.stat("/srv/" + name)
            between.add((name, found.mode, found.uid))
    assert all(not mode & ~0o700 for _, mode, _ in between - ends) and len(between - ends) >= 3, between


NAMES = st.sampled_from(["/etc/one", "/etc/two", "/var/lib/deep/one", "/var/lib/deep/er/two"])
CHANGES = st.lists(
    st.tuples(st.sampled_from(["write", "append", "remove", "die"]), NAMES, st.binary(max_size=12), st.integers(1, 30)),
    min_size=1,
    max_size=12,
)


@given(changes=CHANGES, fates=st.lists(st.sampled_from([KEPT, LOST, "torn"]), min_size=1, max_size=40))
def test_any_sequence_and_any_cut(changes: list[tuple[str, str, bytes, int]], fates: list[str]) -> None:
    """Whatever was done and acknowledged, in any order, by processes that died in between: no cut takes it back."""
    device = SimulatedSystem(shipped=False)
    expected: dict[str, bytes | None] = {}
    for act, path, content, k in changes:
        if act == "write":
            device.write(path, content, 0o600)
            expected[path] = content
        elif act == "append":
            device.append(path, content)
            expected[path] = (expected.get(path) or b"") + content
        elif act == "remove":
            device.remove(path)
            expected[path] = None
        elif device.die_at(k, writing(path, content)):
            device.sweep(["/etc", "/var/lib/deep", "/var/lib/deep/er"])
            device.write(path, content, 0o600)
            expected[path] = content
        else:
            expected[path] = content
    turn = iter(fates * 50)
    device.crash(lambda _pending: next(turn, LOST))
    for path, wanted in expected.items():
        try:
            assert device.read(path) == wanted
        except PrivetError:
            assert wanted is None


def writing(path: str, content: bytes) -> Callable[[SimulatedSystem], object]:
    """Return the work of writing a file."""
    return lambda device: device.write(path, content, 0o600)
