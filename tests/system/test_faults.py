"""Each call of each change may be the last, or fail: old or new, never neither, and nothing is left lying about."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from agent.core.errors import Failed, PrivetError
from agent.system.calls import Calls
from agent.system.door import System
from agent.system.real import RealSystem
from agent.system.simulated import KEPT, LOST, TORN, Pending, SimulatedSystem
from agent.system.simulated.faults import Careless, Faulty, NoSync, dying, failing
from tests.system.operations import HOME, NEW, Operation, Tree, in_child, operations, prepared, tree, unfinished


def each(*left_out: str) -> list[ParameterSet]:
    """Return all changes but some, named."""
    return [pytest.param(it, id=it.name) for it in operations() if it.name not in left_out]


ALL = each()
ERRORS = [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EINTR]


def names_first(pending: Pending) -> str:
    """The cruel disk: names reach it, content does not."""
    return KEPT if pending.kind == "names" else LOST


def content_first(pending: Pending) -> str:
    """The other cruel disk: content reaches it, names do not."""
    return LOST if pending.kind == "names" else KEPT


def names_and_torn(pending: Pending) -> str:
    """Names reach it, content half."""
    return KEPT if pending.kind == "names" else TORN


CUTS = {
    "all": "all",
    "none": "none",
    "names first": names_first,
    "content first": content_first,
    "names and torn": names_and_torn,
}


def succeeds(operation: Operation, system: System, uid: int, gid: int) -> bool:
    """Do it and say whether it went well; an error must be one of ours, and a sentence."""
    sentence = ""
    try:
        operation.work(system, uid, gid)
    except PrivetError as error:
        sentence = str(error)
    assert not sentence or (";" in sentence and "Errno" not in sentence)
    return not sentence


def before_and_after(operation: Operation) -> tuple[Tree, Tree]:
    """Return the trees without any fault."""
    device = prepared(operation)
    old = tree(device)
    operation.work(device, 0, 0)
    return old, tree(device)


@pytest.mark.parametrize("lose", CUTS)
@pytest.mark.parametrize("operation", ALL)
@pytest.mark.parametrize("openat2", [True, False], ids=["openat2", "walk"])
def test_power_cut_at_every_call(operation: Operation, lose: str, openat2: bool) -> None:
    """Power goes in place of call k, for every k: old or new, swept clean; doing it again brings the new for good."""
    old, new = before_and_after(operation)
    device = prepared(operation, openat2)
    calls = device.count(lambda it: operation.work(it, 0, 0))
    assert calls > 5
    for k in range(1, calls + 1):
        device = prepared(operation, openat2)
        assert device.kill_at(k, lambda it: operation.work(it, 0, 0), CUTS[lose]), k
        device.sweep([HOME, HOME + "/a", HOME + "/a/b"])
        found = tree(device)
        assert not unfinished(found)
        assert operation.judge(found, old, new), (k, found)
        if "append" not in operation.name:
            operation.work(device, 0, 0)
            device.crash("all")
            assert tree(device) == new, k


@pytest.mark.parametrize("operation", ALL)
def test_acknowledged_is_on_the_disk(operation: Operation) -> None:
    """What returned survives the loss of everything that was not synced."""
    _, new = before_and_after(operation)
    for lose in CUTS.values():
        device = prepared(operation)
        operation.work(device, 0, 0)
        device.crash(lose)
        assert tree(device) == new


@pytest.mark.parametrize("operation", ALL)
def test_process_dies_and_the_next_one_finishes(operation: Operation) -> None:
    """Our process dies at call k, the device goes on; a new process does it again, and then power goes: it is there.

    This finds what only a first process would have synced: a directory it made and whose name it did not sync.
    """
    old, new = before_and_after(operation)
    calls = prepared(operation).count(lambda it: operation.work(it, 0, 0))
    for k in range(1, calls + 1):
        device = prepared(operation)
        assert device.die_at(k, lambda it: operation.work(it, 0, 0))
        device.sweep([HOME, HOME + "/a", HOME + "/a/b"])
        assert operation.judge(tree(device), old, new), k
        operation.work(device, 0, 0)
        after = tree(device)
        assert after == new or "append" in operation.name, k
        device.crash("all")
        assert tree(device) == after, k


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("operation", ALL)
def test_error_at_every_call(operation: Operation, code: int) -> None:
    """Call k fails: an error of ours or success, old or new in both cases, nothing left open or lying about."""
    old, new = before_and_after(operation)
    k, fired, refused = 0, 1, 0
    while fired:
        k += 1
        device = prepared(operation)
        device.calls = faulty = Faulty(device.calls, k, failing(code))
        done = succeeds(operation, device, 0, 0)
        fired, device.calls = faulty.fired, faulty.inner
        refused += not done
        assert not device.kernel_calls.still_open(), (k, faulty.names_made)
        found = tree(device)
        assert operation.judge(found, old, new) and not unfinished(found), (k, faulty.names_made, found)
        if done:
            assert found == new
            device.crash("all")
            assert tree(device) == new, (k, faulty.names_made)
    assert k > 5
    assert refused == 0 if code == errno.EINTR else refused >= (k - 1) // 2


@pytest.mark.parametrize("operation", each("own", "remove", "make a directory"))
@pytest.mark.parametrize("most", [1, 7])
def test_short_writes(operation: Operation, most: int) -> None:
    """The system takes a few bytes at a time: all of them arrive."""
    _, new = before_and_after(operation)
    device = prepared(operation)
    device.calls = faulty = Faulty(device.calls, most=most)
    operation.work(device, 0, 0)
    assert faulty.fired > 2
    device.crash("all")
    assert tree(device) == new


def test_disk_full_after_a_part() -> None:
    """The disk fills up in the middle of a file: the old one stays, whole, and there is room again."""
    for operation in operations():
        if operation.name not in {"replace", "append"}:
            continue
        old, _ = before_and_after(operation)
        device = prepared(operation)
        device.disk.capacity = device.disk.used() + 7
        with pytest.raises(PrivetError, match="the disk is full; free some space"):
            operation.work(device, 0, 0)
        assert tree(device) == old
        assert device.disk.capacity - device.disk.used() == 7


def test_read_only_disk() -> None:
    """A read-only disk is said to be one."""
    for operation in operations():
        device = prepared(operation)
        device.disk.read_only = True
        with pytest.raises(PrivetError, match="read-only; check the card"):
            operation.work(device, 0, 0)


# -- twins: what these tests must catch


def twin(directories: bool, files: bool, operation: Operation) -> tuple[SimulatedSystem, NoSync]:
    """Return a device after a change that left out some fsyncs."""
    device = prepared(operation)
    device.calls = calls = NoSync(device.calls, directories=directories, files=files)
    operation.work(device, 0, 0)
    device.calls = calls.inner
    assert calls.fired
    return device, calls


@pytest.mark.parametrize("operation", each("own", "append"))
def test_twin_without_directory_fsync_loses(operation: Operation) -> None:
    """Known bad: an acknowledged change is gone after the cut, unless its directory was synced."""
    _, new = before_and_after(operation)
    device, _ = twin(True, False, operation)
    assert tree(device) == new
    device.crash("all")
    assert tree(device) != new


@pytest.mark.parametrize("operation", each("remove", "shred", "make a directory"))
def test_twin_without_file_fsync_tears(operation: Operation) -> None:
    """Known bad: the name is there after the cut and what it names is not."""
    _, new = before_and_after(operation)
    lost = False
    for lose in CUTS.values():
        device, _ = twin(False, True, operation)
        device.crash(lose)
        lost = lost or tree(device) != new
    assert lost


def test_twin_that_believes_short_writes_is_caught() -> None:
    """Known bad: three bytes were taken, all were claimed. The look afterwards notices."""
    for operation in operations():
        if operation.name not in {"replace", "create", "append"}:
            continue
        device = prepared(operation)
        device.calls = calls = Careless(device.calls, most=3)
        with pytest.raises(Failed):
            operation.work(device, 0, 0)
        assert calls.fired


# -- the same on this machine's own kernel


@pytest.mark.parametrize("operation", ALL)
def test_real_process_dies_at_every_call(operation: Operation, tmp_path: Path) -> None:
    """A forked child ends itself in place of call k, on the real file system: old or new, swept clean."""
    uid, gid = os.getuid(), os.getgid()
    ends: list[Tree] = []
    ended = 137
    old: Tree = ()
    found: Tree = ()
    while ended == 137:
        root = tmp_path / str(len(ends))
        system, old = on_this_machine(operation, root)
        doomed = RealSystem(str(root), Faulty(Calls(), len(ends) + 1, dying))
        ended = in_child(partial(operation.work, doomed, uid, gid))
        system.sweep([HOME, HOME + "/a", HOME + "/a/b"])
        found = tree(system)
        assert not unfinished(found)
        ends.append(found)
    assert ended == 0 and len(ends) > 6
    assert old in ends[:-1] and found != old
    assert all(operation.judge(end, old, found) for end in ends)


def on_this_machine(operation: Operation, root: Path) -> tuple[RealSystem, Tree]:
    """Return the real door beneath an empty directory, all being as before, and the tree."""
    root.mkdir()
    system = RealSystem(str(root))
    system.make_directory(HOME, 0o755, os.getuid(), os.getgid())
    operation.prepare(system, os.getuid(), os.getgid())
    return system, tree(system)


@pytest.mark.parametrize("code", [errno.EIO, errno.EINTR], ids=errno.errorcode.get)
@pytest.mark.parametrize("operation", ALL)
def test_real_error_at_every_call(operation: Operation, code: int, tmp_path: Path) -> None:
    """Call k fails on the real file system: an error of ours or success, old or new, no handle left open."""
    uid, gid = os.getuid(), os.getgid()
    k, fired = 0, 1
    held = len(os.listdir("/proc/self/fd"))
    while fired:
        k += 1
        system, old = on_this_machine(operation, tmp_path / str(k))
        system.calls = faulty = Faulty(Calls(), k, failing(code))
        done = succeeds(operation, system, uid, gid)
        fired, system.calls = faulty.fired, faulty.inner
        found = tree(system)
        assert not unfinished(found) and (not done or found != old), (k, faulty.names_made)
        assert len(os.listdir("/proc/self/fd")) == held, (k, faulty.names_made)
    assert k > 5


def test_sweep_finds_what_a_dead_process_left(tmp_path: Path) -> None:
    """A process that died between making and renaming leaves one file, which the next start sweeps."""
    uid, gid = os.getuid(), os.getgid()
    left = 0
    for k in range(1, 40):
        doomed = RealSystem(str(tmp_path), Faulty(Calls(), k, dying))
        assert in_child(partial(doomed.write, "/file", NEW, 0o600, uid, gid)) in {0, 137}
        left += len(RealSystem(str(tmp_path)).sweep(["/"]))
    assert left >= 3
    assert os.listdir(tmp_path) == ["file"]
