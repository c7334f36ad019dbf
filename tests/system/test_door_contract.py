"""The contract of the door, the same on the real machine and on the simulated device."""

import pytest

from agent.core.errors import BadInput, Missing, PrivetError, Unreachable, Unreadable
from tests.system.conftest import Bench

ABSENT = "/etc/absent"


def test_write_then_read(bench: Bench) -> None:
    """What was written is read back, with exactly the rights asked for, whatever the umask."""
    bench.write("/etc/deep/er/file", b"\x00\xff" * 70000, 0o666)
    assert bench.system.read("/etc/deep/er/file") == b"\x00\xff" * 70000
    found = bench.system.stat("/etc/deep/er/file")
    assert (found.kind, found.mode, found.uid, found.gid, found.size) == ("file", 0o666, bench.uid, bench.gid, 140000)
    assert bench.system.stat("/etc/deep").mode == 0o755


def test_write_replaces(bench: Bench) -> None:
    """A second write takes the place of the first: a new file, nothing left beside it."""
    bench.write("/etc/file", b"long old content", 0o600)
    old = bench.system.stat("/etc/file")
    bench.write("/etc/file", b"", 0o640)
    new = bench.system.stat("/etc/file")
    assert bench.system.read("/etc/file") == b""
    assert new.inode != old.inode and new.mode == 0o640 and new.changed > old.changed
    assert "file" in bench.system.entries("/etc")
    assert not [name for name in bench.system.entries("/etc") if name.startswith(".")]


def test_append(bench: Bench) -> None:
    """Bytes are added at the end; the file is made when missing and keeps the rights it should have."""
    for part in (b"one\n", b"", b"two\n"):
        bench.system.append("/var/log/list", part, 0o600, bench.uid, bench.gid)
    assert bench.system.read("/var/log/list") == b"one\ntwo\n"
    bench.system.append("/var/log/list", b"three\n", 0o640, bench.uid, bench.gid)
    assert bench.system.stat("/var/log/list").mode == 0o640


def test_remove(bench: Bench) -> None:
    """A removed file is gone; one that was not there, or whose directory was not there, is fine."""
    bench.write("/etc/file")
    bench.system.remove("/etc/file")
    bench.system.remove("/etc/file")
    bench.system.remove("/etc/no/such/directory")
    with pytest.raises(Missing):
        bench.system.read("/etc/file")


def test_remove_takes_the_link_not_its_target(bench: Bench) -> None:
    """Removing a link leaves what it leads to."""
    bench.write("/srv/file")
    bench.link("/srv/way", "file")
    bench.system.remove("/srv/way")
    assert bench.system.entries("/srv") == ("file",)


def test_own(bench: Bench) -> None:
    """Rights are set on files and directories."""
    bench.write("/etc/directory/file", mode=0o666)
    bench.system.own("/etc/directory/file", 0o600, bench.uid, bench.gid)
    bench.system.own("/etc/directory", 0o700, bench.uid, bench.gid)
    assert bench.system.stat("/etc/directory/file").mode == 0o600
    assert bench.system.stat("/etc/directory").mode == 0o700
    assert bench.system.read("/etc/directory/file") == b"content\n"


def test_make_directory(bench: Bench) -> None:
    """A directory is made with exactly these rights, and gets them when it exists; what is in it stays."""
    bench.system.make_directory("/var/lib/new/one", 0o777, bench.uid, bench.gid)
    assert bench.system.stat("/var/lib/new/one").mode == 0o777
    bench.write("/var/lib/new/one/file")
    bench.system.make_directory("/var/lib/new/one", 0o700, bench.uid, bench.gid)
    assert bench.system.stat("/var/lib/new/one").mode == 0o700
    assert bench.system.entries("/var/lib/new/one") == ("file",)


def test_sync(bench: Bench) -> None:
    """Files, directories and the root can be synced."""
    bench.foreign("/etc/file", b"theirs")
    for path in ("/etc/file", "/etc", "/"):
        bench.system.sync(path)
    assert bench.system.read("/etc/file") == b"theirs"


def test_sweep(bench: Bench) -> None:
    """The sweep takes our unfinished files, no others, and minds no missing directory."""
    bench.foreign("/srv/.privet-0123456789abcdef.tmp", b"half")
    bench.foreign("/srv/.privet-notes", b"theirs")
    assert bench.system.sweep(("/srv", "/srv/absent")) == ("/srv/.privet-0123456789abcdef.tmp",)
    assert bench.system.entries("/srv") == (".privet-notes",)


def test_entries_are_sorted(bench: Bench) -> None:
    """Names come in one order everywhere, also those that are no text."""
    for name in ("b", "a", "\udcff", "ä", "10", "9"):
        bench.foreign("/srv/" + name, b"")
    assert bench.system.entries("/srv") == ("10", "9", "a", "b", "ä", "\udcff")


def test_reading_follows_links(bench: Bench) -> None:
    """Probes see what programs see: links are followed, an absolute one from the device's own root."""
    bench.write("/usr/share/file", b"there")
    bench.link("/etc/file", "/usr/share/file")
    bench.link("/etc/share", "../usr/share")
    assert bench.system.read("/etc/file") == b"there"
    assert bench.system.read("/etc/share/file") == b"there"
    assert bench.system.entries("/etc/share") == ("file",)
    assert bench.system.stat("/etc/share/file").kind == "file"


def test_stat_and_target_look_at_the_link(bench: Bench) -> None:
    """A link itself can be seen, and what it says, even when it leads nowhere."""
    bench.link("/etc/way", "/no/where")
    assert bench.system.stat("/etc/way").kind == "link"
    assert bench.system.target("/etc/way") == "/no/where"
    with pytest.raises(Missing):
        bench.system.read("/etc/way")


def test_missing(bench: Bench) -> None:
    """What is not there is Missing, with the path and what to do."""
    for look in (bench.system.read, bench.system.entries, bench.system.stat, bench.system.target, bench.system.sync):
        with pytest.raises(Missing, match=r"/etc/absent.* is not there; "):
            look(ABSENT + "/file")
    with pytest.raises(Missing):
        bench.system.own(ABSENT, 0o600, bench.uid, bench.gid)


def test_unreadable(bench: Bench) -> None:
    """What is there and is not what was asked for is Unreadable, in one sentence that says what to do."""
    bench.write("/etc/file", b"12345")
    wrong = (
        lambda: bench.system.read("/etc"),
        lambda: bench.system.read("/etc/file", 4),
        lambda: bench.system.read("/etc/file/below"),
        lambda: bench.system.entries("/etc/file"),
        lambda: bench.system.target("/etc/file"),
        lambda: bench.write("/etc"),
        lambda: bench.write("/etc/file/below"),
        lambda: bench.write("/etc/" + "n" * 300),
        lambda: bench.write("/"),
        lambda: bench.system.append("/etc", b"x", 0o600, bench.uid, bench.gid),
        lambda: bench.system.remove("/etc"),
        lambda: bench.system.make_directory("/etc/file", 0o700, bench.uid, bench.gid),
        lambda: bench.system.kernel("/etc/file", b"1"),
        lambda: bench.system.kernel("/proc/sys", b"1"),
    )
    for number, act in enumerate(wrong):
        with pytest.raises(Unreadable) as caught:
            act()
        sentence = str(caught.value)
        assert ";" in sentence and "Errno" not in sentence and "Traceback" not in sentence, (number, sentence)
    assert bench.system.read("/etc/file", 5) == b"12345"


def test_bad_paths(bench: Bench) -> None:
    """A path that is relative, climbs, or cannot be a path is refused before anything is touched."""
    for path in ("", "etc/file", "/etc/../file", "/etc//file", "/etc/./file", "/etc/file/", "/etc/\0", "/etc/\ud800"):
        with pytest.raises(BadInput):
            bench.write(path)
        with pytest.raises(BadInput):
            bench.system.remove(path)
    for path in ("", "etc/file", "/etc/\0", "/etc/\ud800"):
        with pytest.raises(BadInput):
            bench.system.read(path)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_writing_follows_no_link_on_the_way(bench: Bench, depth: int) -> None:
    """A link planted at any place of the path stops every change and is named; nothing lands behind it."""
    names = ["etc", "deep", "er"]
    bench.write("/outside/deep/er/keep", b"theirs")
    inside = "/" + "/".join(names[:depth])
    if depth:
        bench.system.make_directory(inside, 0o755, bench.uid, bench.gid)
    planted = inside.rstrip("/") + "/" + names[depth]
    bench.link(planted, "/outside" + "".join("/" + name for name in names[1 : depth + 1]))
    for act in (
        lambda: bench.write("/etc/deep/er/keep", b"ours"),
        lambda: bench.system.append("/etc/deep/er/keep", b"ours", 0o600, bench.uid, bench.gid),
        lambda: bench.system.remove("/etc/deep/er/keep"),
        lambda: bench.system.shred("/etc/deep/er/keep"),
        lambda: bench.system.own("/etc/deep/er/keep", 0o777, bench.uid, bench.gid),
        lambda: bench.system.make_directory("/etc/deep/er/new", 0o777, bench.uid, bench.gid),
        lambda: bench.system.sync("/etc/deep/er/keep"),
        lambda: bench.system.sweep(("/etc/deep/er",)),
    ):
        with pytest.raises(Unreadable, match="through %s: it is a symbolic link to /outside.*;" % planted):
            act()
    assert bench.system.entries("/outside/deep/er") == ("keep",)
    assert bench.system.read("/outside/deep/er/keep") == b"theirs"
    assert bench.system.stat("/outside/deep/er/keep").mode == 0o644


def test_last_link_is_replaced_not_followed(bench: Bench) -> None:
    """A link in the place of the file itself is replaced by the file; appending, owning and syncing refuse it."""
    bench.write("/outside", b"theirs")
    bench.link("/etc/file", "/outside")
    for act in (
        lambda: bench.system.append("/etc/file", b"x", 0o600, bench.uid, bench.gid),
        lambda: bench.system.own("/etc/file", 0o777, bench.uid, bench.gid),
        lambda: bench.system.sync("/etc/file"),
        lambda: bench.system.make_directory("/etc/file", 0o777, bench.uid, bench.gid),
    ):
        with pytest.raises(Unreadable):
            act()
    bench.write("/etc/file", b"ours")
    assert bench.system.stat("/etc/file").kind == "file"
    assert (bench.system.read("/etc/file"), bench.system.read("/outside")) == (b"ours", b"theirs")


def test_kernel_writes_in_place(bench: Bench) -> None:
    """A kernel file keeps being the same file; beneath /sys links are followed, but only where they stay within."""
    bench.foreign("/proc/sys/kernel/knob", b"long old value\n")
    bench.foreign("/sys/devices/led/brightness", b"0\n")
    before = bench.system.stat("/proc/sys/kernel/knob").inode
    bench.system.kernel("/proc/sys/kernel/knob", b"1\n")
    bench.system.kernel("/sys/devices/led/brightness", b"1\n")
    assert bench.system.read("/proc/sys/kernel/knob") == b"1\n"
    assert bench.system.read("/sys/devices/led/brightness") == b"1\n"
    assert bench.system.stat("/proc/sys/kernel/knob").inode == before
    with pytest.raises(Missing):
        bench.system.kernel("/proc/sys/kernel/none", b"1")
    bench.link("/proc/sys/kernel/way", "knob")
    with pytest.raises(Unreadable):
        bench.system.kernel("/proc/sys/kernel/way", b"2")


def test_kernel_files_behind_links_of_sys(bench: Bench) -> None:
    """/sys/class is links: followed within /sys, with and without openat2; none leads out or goes on for ever."""
    bench.foreign("/sys/devices/leds/ACT/trigger", b"none\n")
    bench.foreign("/sys/class/leds/here", b"")
    bench.foreign("/outside/trigger", b"theirs")
    bench.link("/sys/class/leds/ACT", "../../devices/leds/ACT")
    bench.link("/sys/class/leds/again", "./ACT")
    bench.link("/sys/class/short", "leds/again/trigger")
    for number, path in enumerate(("leds/ACT/trigger", "leds/again/trigger", "short")):
        bench.system.kernel(f"/sys/class/{path}", b"%d" % number)
        assert bench.system.read("/sys/devices/leds/ACT/trigger") == b"%d" % number
    for name, text in {
        "up": "../../../outside",
        "far": "../../../../../../../outside",
        "absolute": "/outside",
        "loop": "loop",
        "self": "../../class/leds/self/../self",
        "top": "../..",
        "none": "../../devices/nobody",
    }.items():
        bench.link(f"/sys/class/leds/{name}", text)
        for path in (f"{name}/trigger", name):
            with pytest.raises((Missing, Unreadable)):
                bench.system.kernel(f"/sys/class/leds/{path}", b"ours!!")
    assert bench.system.read("/outside/trigger") == b"theirs"


def test_entropy_and_clock(bench: Bench) -> None:
    """Entropy is as long as asked for and never the same; the clock reports the boot count it was told."""
    assert len(bench.system.entropy(32)) == 32 and bench.system.entropy(32) != bench.system.entropy(32)
    bench.system.boot = 7
    clock = bench.system.clock()
    assert clock.boot == 7 and type(clock.wall) is int and type(clock.uptime) is int and clock.wall > 1_700_000_000


def test_run_refuses_and_misses(bench: Bench) -> None:
    """A program that is not installed is Unreachable, an impossible command line is bad input."""
    for name in ("no-such-program-here", "/no/such/program"):
        with pytest.raises(Unreachable, match="is not installed; install it"):
            bench.system.run((name,))
    impossible: tuple[tuple[str, ...], ...] = ((), ("",), ("true", "\0"))
    for argv in impossible:
        with pytest.raises(BadInput):
            bench.system.run(argv)


def test_reload_of_what_does_not_run(bench: Bench) -> None:
    """A daemon that is not there cannot be reloaded, whatever its pid file says."""
    for content in (None, b"", b"rubbish", b"4194305\n"):
        if content is not None:
            bench.foreign("/run/ghost.pid", content)
        with pytest.raises(Unreachable, match="ghost is not running"):
            bench.system.reload("ghost", "/run/ghost.pid")


def test_every_error_is_ours(bench: Bench) -> None:
    """Whatever is in the way (fifo, socket, loop of links), the answer is an error of the tree, at once."""
    bench.link("/etc/loop", "loop")
    for act in (
        lambda: bench.system.read("/etc/loop"),
        lambda: bench.system.entries("/etc/loop"),
        lambda: bench.write("/etc/loop/file"),
        lambda: bench.system.append("/etc/loop", b"", 0o600, bench.uid, bench.gid),
    ):
        with pytest.raises(PrivetError):
            act()
