"""Files of systemd-timesyncd by the hundred: the servers that the running one names, we read from the same files."""

import json

from tests.device import systemd_files, tree
from tests.device.differing import Draw
from tests.device.lab import Device

RECIPE = tree.RADIOS  # devices that have systemd-timesyncd

NAME = "timesyncd.conf"
SERVERS = (
    "a.example", "b.example c.example", "192.0.2.1", "2001:db8::1", "A.Example", "a.example  d.example", "",
    "h.example,i.example", "a.example a.example", "l.example\tm.example", "x_y.example", "p.example.", "#q", "1",
    "s.example:123", "fe80::1%lo",
)  # fmt: skip
WORDS = {"NTP": SERVERS, "FallbackNTP": SERVERS, "Servers": SERVERS, "PollIntervalMinSec": ("32", "x")}
ROUNDS = 30
LOOK = (
    systemd_files.LAY
    + r"""
import json, os, subprocess, sys, time
from agent.providers.linux import time_servers
from agent.system.real import RealSystem

BUS = ("busctl", "--json=short", "--auto-start=no", "get-property", "org.freedesktop.timesync1",
       "/org/freedesktop/timesync1", "org.freedesktop.timesync1.Manager")
os.makedirs("/run/dbus", exist_ok=True)
subprocess.run(["dbus-daemon", "--system", "--fork"], check=True)

def named():
    daemon = subprocess.Popen(["/usr/lib/systemd/systemd-timesyncd"], stderr=subprocess.PIPE)
    found = []
    for name in ("SystemNTPServers", "FallbackNTPServers"):
        while True:
            done = subprocess.run((*BUS, name), capture_output=True)
            if done.returncode == 0:
                break
            assert daemon.poll() is None, daemon.stderr.read()
            time.sleep(0.01)
        found.append(json.loads(done.stdout)["data"])
    daemon.terminate()
    return found, daemon.communicate()[1].decode("utf-8", "replace")

told = []
for files in json.loads(sys.stdin.read()):
    lay("timesyncd.conf", files)
    told.append([*named(), time_servers.timesyncd(RealSystem())])
print(json.dumps(told))
"""
)


def looked(device: Device, rounds: list[dict[str, str]]) -> list[tuple[set[str], set[str], str]]:
    """Return of each round whom the real one asks, whom we name, and all that is known of it."""
    done = device.run(device.python("-c", LOOK), json.dumps(rounds).encode(), seconds=150)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    found = []
    for made, ((own, fallback), said, told) in zip(rounds, json.loads(done.stdout), strict=True):
        real = set(own or fallback)
        found.append((real, set(told), f"it asks {sorted(real)}, we say {told}\n{systemd_files.shown(made)}\n{said}"))
    return found


def naive(made: dict[str, str]) -> set[str]:
    """Say what one would say who takes every server that any file names."""
    lines = [line.partition("=") for text in made.values() for line in text.splitlines()]
    return {word for key, _, value in lines if key.strip() in {"NTP", "FallbackNTP"} for word in value.split()}


def test_whom_we_name_it_asks(device: Device) -> None:
    """The servers that the running one says it goes by are those that we read from the same files."""
    draw = Draw("timesyncd")
    rounds = [systemd_files.files(draw, NAME, "Time", WORDS, "[Time]\nNTP=z.example\n") for _ in range(ROUNDS)]
    rounds = [made for made in rounds if not systemd_files.DOUBTFUL.intersection(made.values())]
    usual, fooled = 0, 0
    for made, (real, said, shown) in zip(rounds, looked(device, rounds), strict=True):
        assert said == real, shown
        usual += any("pool.ntp.org" in name for name in real)
        fooled += naive(made) != real
    assert len(rounds) > ROUNDS // 2
    assert 0 < usual < len(rounds)
    assert fooled, "the naive reader was never wrong"


MAIN, LAST = "/etc/systemd/timesyncd.conf", "/etc/systemd/timesyncd.conf.d/z.conf"
USUAL = {f"{number}.debian.pool.ntp.org" for number in range(4)}
FIXED = {
    "no word of what to fall back to": ({MAIN: "[Time]\nFallbackNTP=\n"}, USUAL),
    "taken back": ({MAIN: "[Time]\nFallbackNTP=a.example\nFallbackNTP=\n"}, set()),
    "what is no name": ({MAIN: "[Time]\nNTP=x.example\f a.example\n"}, {"a.example"}),
    "the old name of a key": ({MAIN: "[Time]\nServers=a.example\n"}, {"a.example"}),
    "a main file elsewhere": ({"/usr/lib/systemd/timesyncd.conf": "[Time]\nNTP=a.example\n"}, USUAL),
    "a broken heading ends all": ({MAIN: "[Time\n", LAST: "[Time]\nNTP=a.example\n"}, USUAL),
}


def test_what_the_drawn_ones_found(device: Device) -> None:
    """Each way in which we once said another thing than systemd-timesyncd does."""
    rounds = [made for made, _ in FIXED.values()]
    for (name, (_, wanted)), (real, said, shown) in zip(FIXED.items(), looked(device, rounds), strict=True):
        assert (real, said) == (wanted, wanted), f"{name}: {shown}"
