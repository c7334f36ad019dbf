"""What others may write of what the owner reads (names of programs, keys, ports) neither fills, hides nor commands."""

import shlex
import subprocess
import sys

from agent.core.warn import told
from agent.system.simulated.sockets import listen
from agent.system.writers import ENDED, Writers, said
from tests.guard.conftest import Kept

SECOND = 301
HIDING = "\x1b[8m\x9b2J\u202e\u200b\x07"


def rows(count: int) -> bytes:
    """Return the kernel's table of one person's program that waits on so many ports."""
    zeros = "00000000:00000000 00:00000000 00000000"
    made = [f"{n}: 00000000:{1024 + n:04X} 00000000:0000 0A {zeros} 1000 0 {100000 + n} 1 0" for n in range(count)]
    return "\n".join(["  sl  local_address", *made, ""]).encode()


def keys(count: int, first: int = 0) -> bytes:
    """Return a file of so many keys that nobody could sign in with."""
    return b"".join(b"ssh-rsa AAAA%04d\n" % number for number in range(first, first + count))


def test_a_thousand_keys_of_one_person_end_nothing(kept: Kept) -> None:
    """Whose file it is writes what is in it: the guard goes on, tells it briefly, and starts again with it."""
    kept.system.edit("/home/pi/.ssh/authorized_keys", keys(9000), uid=1000, gid=1000)
    kept.turn()
    assert kept.status("ssh.authorized_keys") == "loosened"
    (warning,) = [w for w in kept.warnings("loosened") if w.setting == "ssh.authorized_keys"]
    assert len(told(warning)) < 3000
    assert "letters more" in told(warning)
    kept.reboot()
    assert kept.status("ssh.authorized_keys") == "loosened"
    (row,) = [r for r in kept.ask("status")["findings"] if r["setting"] == "ssh.authorized_keys"]
    assert len(str(row)) < 64 * 1024


def test_a_key_behind_many_is_news(kept: Kept) -> None:
    """One more key among those that are not named one by one is another finding, and told."""
    kept.system.edit("/home/pi/.ssh/authorized_keys", keys(500), uid=1000, gid=1000)
    kept.turn()
    before = len([w for w in kept.told() if w["setting"] == "ssh.authorized_keys"])
    kept.system.edit("/home/pi/.ssh/authorized_keys", keys(501), uid=1000, gid=1000)
    kept.turn()
    assert len([w for w in kept.told() if w["setting"] == "ssh.authorized_keys"]) == before + 1


def test_thousands_of_ports_of_one_person_end_nothing(kept: Kept) -> None:
    """Anybody may wait on as many ports as there are: one word names it."""
    kept.system.edit("/proc/net/tcp", rows(5000))
    kept.system.tick(SECOND)
    kept.turn()
    assert kept.status("net.listeners") == "loosened"
    (row,) = [r for r in kept.ask("status")["findings"] if r["setting"] == "net.listeners"]
    assert "tcp/many@any:" in row["found"]
    assert len(str(row)) < 64 * 1024


def test_what_is_said_to_type_is_one_word(kept: Kept) -> None:
    """A program may be called as a command of its own: what the owner copies from a warning runs nothing else."""
    process = kept.system.start(("/usr/sbin/a",), None)
    kept.system.hand.link(f"/proc/{process.pid}/exe", "/tmp/a;reboot;'$(id)`id`")
    listen(kept.system, process, "tcp", 8080)
    kept.system.tick(SECOND)
    kept.turn()
    (warning,) = [w for w in kept.warnings("loosened") if w.setting == "net.listeners"]
    command = warning.undo.rpartition("if it does: ")[2]
    word = "tcp/8080@any:a;reboot;'$(id)`id`"
    assert shlex.split(command) == ["privet", "loosen", "net.listeners", word, "--for", "30d"]
    assert list(shlex.shlex(command, posix=True, punctuation_chars=True)) == shlex.split(command)


CALLED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print("called", flush=True)
sys.stdin.read()
"""


def test_who_wrote_hides_nothing_by_its_name() -> None:
    """A program that calls itself by an order to the terminal is named without it; the name of an end is no end."""
    for name in (b"\x1b[8m\x9b2J\r", b"ended"):
        argv = (sys.executable, "-c", CALLED, name.hex())
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"called\n"
            text = said(program.pid)
            assert text.isprintable()
            assert f"(process {program.pid})" in text
            assert not text.startswith(ENDED)
        assert said(program.pid).startswith(ENDED)


def test_a_program_called_ended_is_named(kept: Kept) -> None:
    """Whoever takes the name of those that are gone is still told by it."""
    writers = Writers(number=-1)
    writers.seen["/etc"] = {"pretended (process 7)": writers.now(), f"{ENDED} (process 8)": writers.now()}
    assert writers.names(("/etc",)) == ("pretended (process 7)",)
    kept.system.edit("/etc/sysctl.d/zz-privet-redirects.conf", b"net.ipv4.conf.all.accept_redirects = 1\n")
    kept.system.writing.append(("/etc/sysctl.d", "ended (process 9)"))
    kept.turn()
    assert [w["text"].count("Written by ended (process 9).") for w in kept.told()] == [1]


def test_no_channel_shows_what_hides(kept: Kept) -> None:
    """Whatever part of a warning others wrote: no control reaches the greeting, the log or the status."""
    process = kept.system.start(("/usr/sbin/a",), None)
    listen(kept.system, process, "tcp", 8080)
    kept.system.edit(f"/proc/{process.pid}/cgroup", f"0::/user.slice/{HIDING}x.service\n".encode())
    kept.system.tick(SECOND)
    kept.turn()
    (warning,) = [w for w in kept.warnings("loosened") if w.setting == "net.listeners"]
    assert "x.service" in warning.outcome
    assert told(warning).replace("\n", "").isprintable()
    (row,) = [r for r in kept.ask("status")["findings"] if r["setting"] == "net.listeners"]
    assert str(row["cause"]).isprintable()
