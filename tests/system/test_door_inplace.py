"""The contract of what is done where the bytes lie, the same on the real machine and on the simulated device."""

import pytest

from agent.core.errors import Missing, Unreadable
from tests.system.conftest import Bench

ABSENT = "/etc/absent"


@pytest.mark.parametrize("size", [0, 1, 65536, 200001])
def test_shred(bench: Bench, size: int) -> None:
    """The very file is overwritten to its full length, as whoever holds it open or linked sees, and is gone."""
    bench.write("/boot/firmware/userconf.txt", b"s" * size)
    kept = bench.keep("/boot/firmware/userconf.txt")
    bench.system.shred("/boot/firmware/userconf.txt")
    assert bench.system.entries("/boot/firmware") == ()
    assert kept() == bytes(size)


def test_shred_of_what_is_no_file(bench: Bench) -> None:
    """What is not there is Missing; a link is refused and its target untouched; a directory is refused."""
    bench.write("/outside", b"theirs")
    bench.link("/etc/way", "/outside")
    for path in ("/etc/absent", "/etc/absent/file"):
        with pytest.raises(Missing):
            bench.system.shred(path)
    for path in ("/etc/way", "/etc"):
        with pytest.raises(Unreadable, match="cannot"):
            bench.system.shred(path)
    assert bench.system.read("/outside") == b"theirs"


def test_overwrite(bench: Bench) -> None:
    """The very file gets other bytes, as many as it had; any other length, a link and what is missing are refused."""
    bench.write("/boot/cmdline.txt", b"one two", 0o640)
    before = bench.system.stat("/boot/cmdline.txt")
    bench.system.overwrite("/boot/cmdline.txt", b"one    ")
    after = bench.system.stat("/boot/cmdline.txt")
    assert bench.system.read("/boot/cmdline.txt") == b"one    "
    assert (after.inode, after.mode) == (before.inode, before.mode)
    bench.link("/boot/way", "cmdline.txt")
    for path, content in (("/boot/cmdline.txt", b"short"), ("/boot/way", b"one two"), ("/boot", b"")):
        with pytest.raises(Unreadable):
            bench.system.overwrite(path, content)
    with pytest.raises(Missing):
        bench.system.overwrite(ABSENT, b"")
    assert bench.system.read("/boot/cmdline.txt") == b"one    "


def test_search(bench: Bench) -> None:
    """Values are found wherever they lie, also across the parts in which it is read; what is not there is not."""
    for place in (0, 1, (1 << 20) - 3, (1 << 20), 2500000):
        bench.write("/srv/disk", b"\0" * place + b"a secret" + b"\xff" * 700)
        assert bench.system.search("/srv/disk", (b"other", b"a secret", b"")) == (b"a secret",), place
    assert bench.system.search("/srv/disk", ()) == ()
    bench.write("/srv/disk", b"")
    assert bench.system.search("/srv/disk", (b"x",)) == ()
    for path in ("/srv", ABSENT):
        with pytest.raises((Unreadable, Missing)):
            bench.system.search(path, (b"x",))
