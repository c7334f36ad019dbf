"""The truth about servers: several of them, not reloaded, badly configured, called by another name; and tunnels."""

import json
import time

import pytest

from tests.device.lab import PASSWORD, Device
from tests.device.verdicts import CONFINED, ENFORCE, verdict

MAIN = "/etc/ssh/sshd_config"
DROP = "/etc/ssh/sshd_config.d"
NO = "PasswordAuthentication no\n"
BASE = "KbdInteractiveAuthentication no\nUsePAM yes\n"

COST = """
import json, resource
from agent import registry
from agent.system.real import RealSystem

system = RealSystem()
ssh = [s for s in registry.settings().values() if s.provider == "sshd_option"]

def spent(who):
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1000

def sweep():
    for setting in ssh:
        registry.provider("sshd_option").probe(system, setting.params)

sweep()
first = spent(resource.RUSAGE_CHILDREN)
own, children = spent(resource.RUSAGE_SELF), spent(resource.RUSAGE_CHILDREN)
for _ in range(20):
    sweep()
print(json.dumps([(spent(resource.RUSAGE_SELF) - own) / 20, spent(resource.RUSAGE_CHILDREN) - children, first]))
"""

# Changes a file, and a moment later what the server wrote when it began: as if it had been between reading and writing.
RACED = """
import json, os, sys
number = open("/run/sshd.pid").read()
open(sys.argv[1], "w").write(sys.argv[2])
open("/run/sshd.pid", "w").write(number)
print(json.dumps(os.stat("/run/sshd.pid").st_ctime_ns - os.stat(sys.argv[1]).st_ctime_ns))
"""


def test_a_command_line_that_shuts(quick: Device) -> None:
    """A door shut by the command line of this one start is shut now, and open after a reboot: both are said."""
    quick.sshd("-o", "PasswordAuthentication no")
    found = verdict(quick, "ssh.password")
    assert (found.status, found.live, found.kept) == ("loosened", "no", "yes")
    assert not quick.login("pi", password=PASSWORD)


def test_a_second_server(quick: Device) -> None:
    """A second server with a file of its own is found by its listening socket, whatever its port."""
    quick.write(f"{DROP}/a.conf", NO + "PermitRootLogin no\n")
    quick.write("/etc/second", BASE + "PidFile none\n")
    time.sleep(1.1)  # without a file of its number only its start tells what it has loaded, and that by the second
    quick.sshd()
    quick.sshd("-f", "/etc/second", "-p", "2222", port=2222)
    found = verdict(quick, "ssh.password")
    assert found.status == "loosened"
    assert (found.live, found.kept) == ("yes", "no")
    assert quick.login("pi", password=PASSWORD, port=2222)
    assert not quick.login("pi", password=PASSWORD)


def test_a_stranger_called_sshd(quick: Device) -> None:
    """What a user's process calls itself decides nothing: its program is not run as root, its files are not read."""
    quick.write(f"{DROP}/a.conf", NO + "PermitRootLogin no\n")
    quick.sshd()
    trap = "#!/bin/sh\nid -u >>/tmp/who\nexec /usr/bin/python3 /tmp/listen.py\n"
    title = "sshd: /tmp/sshd -f /etc/shadow -o PermitRootLogin=yes [listener] 0 of 10-100 startups"
    listen = "import socket, time\nmade = socket.create_server(('127.0.0.1', 2222))\ntime.sleep(600)\n"
    quick.write("/tmp/sshd", trap, 0o777)
    quick.write("/tmp/listen.py", listen)
    quick.spawn(["setpriv", "--reuid", "pi", "bash", "-c", 'exec -a "$0" python3 /tmp/listen.py', title])
    quick.listener(2222)
    assert title in quick.must(["sh", "-c", "cat /proc/*/cmdline"]), "the stranger is not there"
    assert verdict(quick, "ssh.root").status == "ok"
    # Run by root from where anybody can replace it, it is a server whose files nobody knows: never a pass, never run.
    quick.spawn(["bash", "-c", 'exec -a "$0" python3 -c "$1"', title, listen.replace("2222", "2223")])
    quick.listener(2223)
    for power in ((), CONFINED):
        found = verdict(quick, "ssh.root", power)
        assert found.status == "unknown", found
        assert "root:" not in found.cause
    assert quick.run(["test", "-e", "/tmp/who"]).returncode == 1


def test_unchanged_costs_little(quick: Device) -> None:
    """Five settings, nothing changed: no program runs, at most 20 ms of processor time."""
    quick.write(f"{DROP}/a.conf", NO + "Match User pi\n X11Forwarding no\n")
    quick.sshd()
    own, children, first = quick.ask(COST)
    assert first > 0, "the first look ran no program"
    assert children == 0
    assert own <= 20


def test_a_password_door_left_open(quick: Device) -> None:
    """A server that was not reloaded is seen to offer passwords; after the reload it is not."""
    quick.write(f"{DROP}/a.conf", "PasswordAuthentication yes\n")
    pid = quick.sshd()
    quick.write(f"{DROP}/a.conf", NO)
    found = verdict(quick, "ssh.password")
    assert (found.status, found.live, found.kept) == ("loosened", "yes", "no"), found
    assert quick.login("pi", password=PASSWORD)
    quick.reload_sshd(pid)
    assert verdict(quick, "ssh.password").status == "ok"
    assert not quick.login("pi", password=PASSWORD)


def test_what_cannot_be_known_is_not_fine(quick: Device) -> None:
    """Cold, a server that was not reloaded and whose door looks shut is unknown, and reloading settles it."""
    quick.write(f"{DROP}/a.conf", NO)
    quick.sshd()
    quick.append(f"{DROP}/a.conf", "# looked at\n")
    found = verdict(quick, "ssh.password")
    assert (found.status, found.kept) == ("unknown", "no")
    assert "reload" in found.cause
    live, kept, why, _ = quick.ask(ENFORCE, "ssh.password", json.dumps("no"))
    assert (live, kept) == ("no", "no"), why


def test_a_change_while_the_server_starts_is_not_taken_for_loaded(quick: Device) -> None:
    """A file that changed between its reading and the server's number: forwarding is open, and nobody calls it shut."""
    kinds = ("AllowTcpForwarding", "X11Forwarding", "AllowAgentForwarding", "AllowStreamLocalForwarding")
    shut = NO + "".join(f"{kind} no\n" for kind in kinds)
    quick.write(f"{DROP}/a.conf", NO + "AllowTcpForwarding yes\n")
    quick.sshd()
    assert quick.ask(RACED, f"{DROP}/a.conf", shut) < 10**6, "the change came too early"
    found = verdict(quick, "ssh.forwarding")
    assert found.status == "unknown" and "reload it" in found.cause, found
    live, kept, why, _ = quick.ask(ENFORCE, "ssh.forwarding", json.dumps([]))
    assert (live, kept) == ([], []), why


def test_files_that_no_server_accepts(quick: Device) -> None:
    """A broken configuration is unknown and names the line; steps stop before the reload, so the server lives on."""
    quick.write(f"{DROP}/a.conf", NO)
    pid = quick.sshd()
    quick.write(f"{DROP}/b.conf", "NoSuchOption yes\n")
    found = verdict(quick, "ssh.password")
    assert found.status == "unknown"
    assert "b.conf" in found.cause
    done = quick.agent(ENFORCE, "ssh.password", json.dumps("no"))
    assert done.returncode != 0
    assert quick.listener(22) == pid


def test_a_unit_that_opens(quick: Device) -> None:
    """With no server running, what its unit will do after a reboot counts: an -o in a drop-in or in /etc/default."""
    quick.write(f"{DROP}/a.conf", NO)
    assert verdict(quick, "ssh.password").status == "ok"
    quick.write("/etc/default/ssh", "SSHD_OPTS='-o PasswordAuthentication=yes'\n")
    found = verdict(quick, "ssh.password")
    assert (found.status, found.live, found.kept) == ("loosened", "no", "yes")
    assert "unit ssh" in found.cause
    quick.write("/etc/default/ssh", "SSHD_OPTS=\n")
    unit = "[Service]\nExecStart=\nExecStart=/usr/sbin/sshd -D -o 'PasswordAuthentication yes'\n"
    quick.write("/etc/systemd/system/ssh.service.d/mine.conf", unit)
    assert verdict(quick, "ssh.password").kept == "yes"


def test_no_server_at_all(quick: Device) -> None:
    """Without the program the setting is absent; without host keys and run directory the files can still be judged."""
    quick.write(f"{DROP}/a.conf", NO)
    quick.must(["sh", "-c", "rm -rf /etc/ssh/ssh_host_* /run/sshd"])
    assert verdict(quick, "ssh.password").status == "ok"
    quick.must(["rm", "/usr/sbin/sshd"])
    assert verdict(quick, "ssh.password").status == "absent"


@pytest.mark.parametrize("content", ["", "AllowTcpForwarding no\n", "AllowTcpForwarding local\n"])
def test_tunnels(quick: Device, content: str) -> None:
    """What we say of tunnels is what a real tunnel through a real login shows; then the steps shut it."""
    key = quick.key("pi")
    quick.write(f"{DROP}/a.conf", content + "X11Forwarding no\n")
    quick.sshd()
    argv = ["ssh", "-q", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    argv += ["-W", "127.0.0.1:22", "pi@127.0.0.1"]
    truth = b"SSH-2.0" in quick.run(argv).stdout
    found = verdict(quick, "ssh.forwarding")
    assert ("tcp" in found.live) == truth == (content != "AllowTcpForwarding no\n")
    assert "x11" not in found.live
    assert quick.ask(ENFORCE, "ssh.forwarding", "[]")[:2] == [[], []]
    assert b"SSH-2.0" not in quick.run(argv).stdout
    assert quick.login("pi", key=key)


def test_main_file_without_include(quick: Device) -> None:
    """Where the main file does not read drop-ins first, the steps put a line before all others, once."""
    key = quick.key("root")
    quick.write(MAIN, "UsePAM yes\nPermitRootLogin yes\nMatch User root\n PermitRootLogin yes\n")
    quick.sshd()
    assert quick.login("root", key=key)
    live, kept, cause, settled = quick.ask(ENFORCE, "ssh.root", json.dumps("no"))
    assert (live, kept, settled) == ("no", "no", True), cause
    assert not quick.login("root", key=key)
    before = quick.read(MAIN)
    quick.ask(ENFORCE, "ssh.root", json.dumps("no"))
    assert quick.read(MAIN) == before


def test_a_drop_in_that_sorts_before_ours(quick: Device) -> None:
    """A drop-in whose name sorts before ours does not win."""
    key = quick.key("root")
    quick.write(f"{DROP}/!.conf", "Match all\n PermitRootLogin yes\n")
    quick.sshd()
    assert quick.login("root", key=key)
    assert quick.ask(ENFORCE, "ssh.root", json.dumps("no"))[:2] == ["no", "no"]
    assert not quick.login("root", key=key)


def test_trying_the_door_leaves_nothing(quick: Device) -> None:
    """After the attempt to log in as root, no key and no file of ours is left, whether it entered or not."""
    quick.write(f"{DROP}/a.conf", "PermitRootLogin yes\n")
    quick.sshd()
    quick.write(f"{DROP}/a.conf", "PermitRootLogin no\n")
    before = quick.must(["sh", "-c", "ls -laR /root/.ssh; find / -xdev -newer /run/sshd.pid -type f"])
    assert verdict(quick, "ssh.root").status == "loosened"
    after = quick.must(["sh", "-c", "ls -laR /root/.ssh; find / -xdev -newer /run/sshd.pid -type f"])
    assert [line for line in after.splitlines() if "ssh" in line] == [
        line for line in before.splitlines() if "ssh" in line
    ]
    assert quick.must(["ls", "/run/privet-door"]) == ""


RESIDENT = """
import json, sys
from agent.providers.linux import sshd_option
from agent.system.real import RealSystem

system = RealSystem()
for line in sys.stdin:
    reading = sshd_option.probe(system, {"option": line.strip()})
    print(json.dumps([reading.live, reading.kept, reading.cause]), flush=True)
"""


def test_a_resident_probe(quick: Device) -> None:
    """One that has watched knows what a server that was not reloaded does, and never answers from before a reload."""
    key = quick.key("root")
    quick.write(f"{DROP}/a.conf", "PermitRootLogin forced-commands-only\n")
    pid = quick.sshd()
    watcher = quick.spawn(quick.python("-c", RESIDENT))
    assert watcher.stdin is not None and watcher.stdout is not None

    def ask() -> list[str | None]:
        assert watcher.stdin is not None and watcher.stdout is not None
        watcher.stdin.write(b"PermitRootLogin\n")
        watcher.stdin.flush()
        found: list[str | None] = json.loads(watcher.stdout.readline())
        return found

    assert ask()[:2] == ["forced-commands-only"] * 2
    quick.write(f"{DROP}/a.conf", "PermitRootLogin yes\n")
    assert ask()[:2] == ["forced-commands-only", "yes"]
    for word, truth in (("yes", True), ("no", False), ("yes", True), ("no", False)):
        quick.write(f"{DROP}/a.conf", f"PermitRootLogin {word}\n")
        quick.must(["kill", "-HUP", str(pid)])
        assert ask()[:2] == [word, word]
        assert quick.login("root", key=key) == truth
    quick.must(["kill", str(pid)])
    quick.append(f"{DROP}/a.conf", "X11Forwarding no\n")
    quick.write("/etc/ssh/sshd_config", "PermitRootLogin no\n")
    assert ask()[:2] == ["no", "no"]
