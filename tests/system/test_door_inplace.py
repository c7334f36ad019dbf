"""The contract of what is done where the bytes lie, the same on the real machine and on the simulated device."""

import struct
from collections.abc import Callable

import pytest

from agent.core.errors import Missing, Unreadable
from tests.system.conftest import Bench

ABSENT = "/etc/absent"
NOBODY = 0xFFFFFFFF


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


def test_aside(bench: Bench) -> None:
    """Whatever stands somewhere gets a name beside it that is free: a file, a directory with what is in it, a link."""
    bench.write("/srv/place", b"one")
    assert bench.system.aside("/srv/place") == "/srv/place.damaged-1"
    bench.write("/srv/place/below", b"two")
    assert bench.system.aside("/srv/place") == "/srv/place.damaged-2"
    bench.link("/srv/place", "elsewhere")
    assert bench.system.aside("/srv/place") == "/srv/place.damaged-3"
    assert bench.system.read("/srv/place.damaged-1") == b"one"
    assert bench.system.read("/srv/place.damaged-2/below") == b"two"
    assert bench.system.target("/srv/place.damaged-3") == "elsewhere"
    assert bench.system.entries("/srv") == tuple(f"place.damaged-{n}" for n in (1, 2, 3))
    bench.write("/srv/place/below", b"three")  # what was known of the way there is forgotten
    assert bench.system.read("/srv/place/below") == b"three"
    with pytest.raises(Missing):
        bench.system.aside(ABSENT)


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


@pytest.mark.parametrize("mode", [0o777, 0o755])
def test_a_hard_link_that_others_could_have_made(bench: Bench, mode: int) -> None:
    """Where others make names, a file with a second name may be any file: nothing in it changes; elsewhere it is ours.

    What replaces or removes the name alone goes on.
    """
    system, mine = bench.system, (bench.uid, bench.gid)
    bench.write("/outside", b"theirs", 0o640)
    bench.write("/shared/other", b"x")
    system.make_directory("/shared", mode, *mine)
    acts: list[Callable[[], None]] = [
        lambda: system.append("/shared/file", b"x", 0o600, *mine),
        lambda: system.own("/shared/file", 0o600, *mine),
        lambda: system.overwrite("/shared/file", b"ours!!"),
        lambda: system.shred("/shared/file"),
    ]
    for act in acts:
        bench.write("/outside", b"theirs", 0o640)
        system.remove("/shared/file")
        bench.hard_link("/shared/file", "/outside")
        assert system.stat("/shared/file").names == 2
        if mode == 0o755:
            act()
            continue
        with pytest.raises(Unreadable, match="cannot change /shared/file: it is a hard link"):
            act()
        assert (system.read("/outside"), system.stat("/outside").mode) == (b"theirs", 0o640)
    if mode == 0o777:
        bench.write("/shared/file", b"ours")
        assert (system.read("/outside"), system.read("/shared/file")) == (b"theirs", b"ours")


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


def access_list(*people: int) -> bytes:
    """Return a list by which these people may read, as the kernel keeps it."""
    rows = [(1, 7, NOBODY), *((2, 4, person) for person in people), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)


def test_access_lists(bench: Bench) -> None:
    """Lists are given and taken, on files and directories; none to take is fine, and no link is followed."""
    bench.write("/etc/folder/file", mode=0o600)
    one, two = access_list(1234), access_list(1234, 4321)
    assert bench.system.access_lists("/etc/folder/file") == (b"", b"")
    bench.system.list_access("/etc/folder/file", b"", b"")
    bench.system.list_access("/etc/folder/file", one, b"")
    bench.system.list_access("/etc/folder", one, two)
    assert bench.system.access_lists("/etc/folder/file") == (one, b"")
    assert bench.system.access_lists("/etc/folder") == (one, two)
    bench.link("/etc/way", "folder")
    for act in (lambda: bench.system.list_access("/etc/way", b"", b""), lambda: bench.system.access_lists("/etc/way")):
        with pytest.raises(Unreadable):
            act()
    with pytest.raises(Unreadable):
        bench.system.list_access("/etc/folder/file", one, two)
    with pytest.raises(Missing):
        bench.system.list_access(ABSENT, b"", b"")
    assert bench.system.access_lists("/etc/folder") == (one, two)
    bench.system.list_access("/etc/folder", b"", b"")
    assert bench.system.access_lists("/etc/folder") == (b"", b"")
