"""The passwords everybody tries first, over real SSH: none opens a device that has been through its first boot."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.credential import read_pairs
from agent.providers.linux.nft.flows import BURST, RATE
from tests.device.lab import PASSWORD, Device, Lab
from tests.device.street import MINE, NEAR, Street
from tests.device.whole import Whole
from tests.house import ROOT

COMMON = 1000
TRIES = 6  # what sshd allows on one connection
LOG = "/run/sshd.log"
# Real ssh, several at once, six passwords on each connection. Reads {user: [password, …]}, prints whom it got in as.
CLIENT = """
import json, os, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
host, source, patience = sys.argv[1:]
folder = tempfile.mkdtemp(dir="/run")
asked = folder + "/ask"
with open(os.open(asked, os.O_WRONLY | os.O_CREAT, 0o700), "w") as file:
    file.write('#!/bin/sh\\nhead -n 1 "$LAB_LIST"\\nsed -i 1d "$LAB_LIST"\\n')
argv = ["ssh", "-q", "-b", source, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
argv += ["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=6"]
argv += ["-o", "ConnectTimeout=" + patience]

def guess(job):
    number, user, some = job
    path = folder + "/list%d" % number
    with open(path, "w") as file:
        file.write("".join(word + "\\n" for word in some))
    given = {**os.environ, "SSH_ASKPASS": asked, "SSH_ASKPASS_REQUIRE": "force", "LAB_LIST": path}
    done = subprocess.run([*argv, user + "@" + host, "echo let-in"], env=given, capture_output=True, input=b"")
    return [user, some] if done.stdout == b"let-in\\n" else None

jobs = [(user, words[k:k + 6]) for user, words in json.load(sys.stdin).items() for k in range(0, len(words), 6)]
with ThreadPoolExecutor(4) as pool:
    found = [one for one in pool.map(guess, [(n, *job) for n, job in enumerate(jobs)]) if one]
print(json.dumps([len(jobs), found]))
"""


@pytest.fixture
def street(lab: Lab) -> Iterator[Street]:
    """Give a factory device whose sshd takes passwords and writes down every try, and its neighbour."""
    with lab.device() as device, lab.device() as neighbour:
        device.refuse_quickly()
        made = Street(device, neighbour)
        device.sshd("-E", LOG, "-o", "LogLevel=VERBOSE")
        yield made


def guess(
    street: Street, lists: dict[str, list[str]], patience: int = 60, source: str = NEAR[0]
) -> tuple[int, list[tuple[str, list[str]]]]:
    """Try passwords over SSH from the neighbour; return how many connections were tried, and which got in."""
    argv = street.neighbour.python("-c", CLIENT, MINE, source, str(patience))
    done = street.neighbour.run(argv, json.dumps(lists).encode(), seconds=900)
    assert done.returncode == 0, done.stderr.decode()
    connections, found = json.loads(done.stdout)
    return connections, [(user, some) for user, some in found]


def tried(device: Device) -> tuple[int, int]:
    """Return how many connections the server has had, and how many passwords it has refused."""
    text = device.read(LOG)
    return len(re.findall("^Connection from", text, re.MULTILINE)), len(
        re.findall("^Failed password", text, re.MULTILINE)
    )


def common(device: Device) -> list[str]:
    """Return the thousand most common passwords by the list that comes with nmap."""
    lines = device.read("/usr/share/nmap/nselib/data/passwords.lst").splitlines()
    return [line for line in lines if line and not line.startswith("#!comment")][:COMMON]


def factory() -> dict[str, list[str]]:
    """Return the known factory passwords by user: boards, images, and the list of the Mirai scanner."""
    found: dict[str, list[str]] = {}
    for user, password in read_pairs((ROOT / "agent/credentials/factory_passwords.txt").read_text(encoding="utf-8")):
        found.setdefault(user, []).append(password)
    return found


def loosen(whole: Whole, setting: str, value: str) -> None:
    """Loosen a setting as the owner does: look at the risk, then say yes."""
    shown = whole.ask("explain", setting=setting, value=value)["seen"]
    done = whole.ask("loosen", setting=setting, value=value, seen=shown, seconds=3600, reason="a test of guessing")
    assert done["ok"] is True, done


def test_twin_a_factory_device_is_opened_by_the_same_client(street: Street) -> None:
    """Known bad: before the first boot the client gets in with raspberry, and with a common one where that was set."""
    words = common(street.device)
    assert len(words) == COMMON and len(set(words)) == COMMON
    _, found = guess(street, {"pi": [*words[:8], PASSWORD, *words[8:12]]})
    assert [user for user, some in found if PASSWORD in some] == ["pi"]
    street.device.must(["chpasswd"], f"pi:{words[-3]}\n".encode())
    _, found = guess(street, {"pi": words[-12:]})
    assert [user for user, some in found if words[-3] in some] == ["pi"]


def test_no_common_password_opens_a_device_after_its_first_boot(street: Street, tmp_path: Path) -> None:
    """Passwords off: none is even taken. Passwords allowed: all are tried, none opens; and ten connections a minute."""
    device = street.device
    whole = Whole(device, tmp_path)
    whole.start()
    lists = factory()
    lists["pi"] = [*dict.fromkeys([*lists["pi"], *common(device)])]
    mirai = {user: words for user, words in factory().items() if user in {"root", "admin", "pi"}}

    before = tried(device)
    connections, found = guess(street, mirai, patience=1)
    after = tried(device)
    assert found == [] and connections > RATE + BURST
    assert after[1] == before[1], "SSH takes no passwords, and yet one was tried"
    assert 0 < after[0] - before[0] < connections, "not limited"

    loosen(whole, "ssh.password", "yes")
    before = tried(device)
    _, found = guess(street, mirai, patience=1, source=NEAR[1])
    assert found == []
    limited = tried(device)[1] - before[1]
    assert 0 < limited < sum(map(len, mirai.values()))

    loosen(whole, "firewall.inbound", "tcp/22@lan unlimited")
    before = tried(device)
    connections, found = guess(street, lists)
    after = tried(device)
    wanted = sum(map(len, lists.values()))
    assert found == []
    # Each connection was given all its tries: where a list had ended, with an empty password.
    assert (after[0] - before[0], after[1] - before[1]) == (connections, connections * TRIES)
    assert connections * TRIES >= wanted >= COMMON + 100
    shown = whole.privet("credentials", "show", "--once").stdout.decode()
    secret = next(line.split(": ", 1)[1] for line in shown.splitlines() if line.startswith("linux_account/pi"))
    assert guess(street, {"pi": ["wrong", secret]})[1] == [("pi", ["wrong", secret])]
    assert secret not in lists["pi"]
    print(f"{wanted} passwords on {connections} connections: none opened; {limited} tried while the limit held")
