"""The simulated disk tells the truth: what each sync brings over, and what a cut may take."""

import errno
import os

import pytest

from agent.core.errors import Missing
from agent.system.simulated import KEPT, LOST, Pending, SimulatedSystem
from agent.system.simulated.disk import torn

WRITING = os.O_WRONLY | os.O_CREAT


def opened(device: SimulatedSystem, path: str, content: bytes, flags: int = WRITING) -> tuple[int, int]:
    """Write content into a file by bare calls; returns the numbers of its directory and of itself."""
    calls = device.kernel_calls
    above, _, name = path.rpartition("/")
    directory = calls.follow("/", above, os.O_RDONLY | os.O_DIRECTORY)
    number = calls.open(directory, name, flags, 0o600)
    calls.write(number, memoryview(content))
    return directory, number


def test_nothing_synced_nothing_there() -> None:
    """A new file without any sync is gone."""
    device = SimulatedSystem()
    device.edit("/root/file", b"x")
    device.crash()
    assert device.entries("/root") == ()


def test_file_sync_brings_no_name() -> None:
    """Fsync of a new file alone does not bring its name."""
    device = SimulatedSystem()
    _, number = opened(device, "/root/file", b"x")
    device.kernel_calls.fsync(number)
    device.crash()
    assert device.entries("/root") == ()


def test_directory_sync_brings_no_content() -> None:
    """Fsync of the directory alone brings the name, of an empty file."""
    device = SimulatedSystem()
    directory, _ = opened(device, "/root/file", b"x")
    device.kernel_calls.fsync(directory)
    device.crash()
    assert device.read("/root/file") == b""


def test_both_bring_both() -> None:
    """Both syncs together keep the file."""
    device = SimulatedSystem()
    directory, number = opened(device, "/root/file", b"x")
    device.kernel_calls.fsync(number)
    device.kernel_calls.fsync(directory)
    device.crash()
    assert device.read("/root/file") == b"x"


def test_rename_without_directory_sync_brings_the_old_back() -> None:
    """What chpasswd does: new content synced, renamed over, directory not synced: the old file is back."""
    device = SimulatedSystem(image=lambda it: it.edit("/etc/shadow", b"factory"))
    device.edit("/etc/shadow", b"changed", synced=True)
    assert device.read("/etc/shadow") == b"changed"
    device.crash()
    assert device.read("/etc/shadow") == b"factory"
    device.edit("/etc/shadow", b"changed", synced=True)
    device.sync("/etc")
    device.crash()
    assert device.read("/etc/shadow") == b"changed"


def test_rename_without_file_sync_may_be_empty_or_short() -> None:
    """The classic: the new name reached the disk, its content did not, or half."""
    for lose, left in ((no_content, b""), (torn_names, b"chan")):
        device = SimulatedSystem(image=lambda it: it.edit("/etc/hosts", b"factory"))
        device.edit("/etc/hosts", b"changed!")
        device.crash(lose)
        assert device.read("/etc/hosts") == left


def no_content(pending: Pending) -> str:
    """Keep names, lose content."""
    return KEPT if pending.kind == "names" else LOST


def torn_names(pending: Pending) -> str:
    """Keep names, tear content."""
    return KEPT if pending.kind == "names" else "torn"


def test_unlink_without_sync_comes_back_whole() -> None:
    """A removed file whose directory was not synced is back, with its content."""
    device = SimulatedSystem(image=lambda it: it.edit("/root/file", b"old"))
    device.hand.discard("/root/file")
    with pytest.raises(Missing):
        device.read("/root/file")
    device.crash()
    assert device.read("/root/file") == b"old"


def test_rights_are_lost_too() -> None:
    """Rights that were not synced are the old ones again."""
    device = SimulatedSystem(image=lambda it: it.edit("/root/file", b"old", mode=0o644))
    device.hand.rights("/root/file", 0o600)
    device.crash()
    assert device.stat("/root/file").mode == 0o644


def test_memory_file_systems_are_empty_after_a_cut() -> None:
    """/run, /tmp and the like live in memory, whatever was synced; they are there again, empty."""
    device = SimulatedSystem()
    device.write("/run/privet/file", b"x", 0o600)
    device.reboot()
    assert "privet" not in device.entries("/run")
    assert device.stat("/tmp").mode == 0o1777


def test_reboot_in_order_keeps_everything() -> None:
    """A clean shutdown syncs."""
    device = SimulatedSystem()
    device.edit("/root/file", b"x")
    device.reboot()
    assert device.read("/root/file") == b"x"


def test_each_choice_is_asked_for_by_path() -> None:
    """The test that cuts can choose each fate."""
    device = SimulatedSystem()
    device.edit("/root/one", b"1")
    device.edit("/home/two", b"2")
    asked = []

    def choose(pending: Pending) -> str:
        asked.append((pending.kind, pending.path))
        return KEPT if pending.path.startswith("/root") else LOST

    device.crash(choose)
    assert device.read("/root/one") == b"1" and device.entries("/home") == ()
    assert ("names", "/root") in asked and ("names", "/home") in asked


def test_torn_content_keeps_a_beginning() -> None:
    """Torn content: the common beginning and half of what is new."""
    assert torn(b"", b"12345678") == b"1234"
    assert torn(b"12", b"1234") == b"123"
    assert torn(b"same", b"same") == b"same"
    assert torn(b"12345678", b"1") == b"1"


def test_short_write_when_nearly_full_then_no_space() -> None:
    """A nearly full disk takes a part, then refuses: as Linux does."""
    device = SimulatedSystem()
    device.disk.capacity = device.disk.used() + 3
    _, number = opened(device, "/root/file", b"12345")
    assert device.read("/root/file") == b"123"
    with pytest.raises(OSError) as caught:
        device.kernel_calls.write(number, memoryview(b"45"))
    assert caught.value.errno == errno.ENOSPC


def test_calls_refuse_as_linux_does() -> None:
    """Wrong use of the calls gives the errors a kernel gives."""
    device = SimulatedSystem()
    device.edit("/root/file", b"x")
    calls = device.kernel_calls
    root = calls.follow("/", "/root", os.O_RDONLY | os.O_DIRECTORY)
    reading = calls.open(root, "file", os.O_RDONLY)
    calls.mkdir(root, "below", 0o700)
    for code, act in (
        (errno.EBADF, lambda: calls.read(99999, 1)),
        (errno.EBADF, lambda: calls.write(reading, memoryview(b"x"))),
        (errno.EBADF, lambda: calls.close(99999)),
        (errno.EISDIR, lambda: calls.read(root, 1)),
        (errno.EISDIR, lambda: calls.open(root, "below", os.O_WRONLY)),
        (errno.EISDIR, lambda: calls.unlink(root, "below")),
        (errno.EISDIR, lambda: calls.rename(root, "file", "below")),
        (errno.EEXIST, lambda: calls.mkdir(root, "file", 0o700)),
        (errno.EEXIST, lambda: calls.open(root, "file", WRITING | os.O_EXCL)),
        (errno.ENOENT, lambda: calls.rename(root, "none", "other")),
        (errno.ENOENT, lambda: calls.unlink(root, "none")),
        (errno.ENOTDIR, lambda: calls.open(root, "file", os.O_RDONLY | os.O_DIRECTORY)),
        (errno.EINVAL, lambda: calls.readlink(root, "file")),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == code


def test_dots_climb_but_not_out() -> None:
    """`..` works as in any path and stops at the root."""
    device = SimulatedSystem()
    device.edit("/root/file", b"x")
    assert device.read("/etc/../root/./file") == b"x"
    assert device.read("/../../root/file") == b"x"
