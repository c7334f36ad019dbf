"""Another hand changes the device between any two calls of one cycle: the guard goes on, and what it says is true.

Drawn from the number of the case; `PRIVET_HANDS` draws more.
"""

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.guard.guard import SWEEP
from agent.providers.linux import accounts
from agent.system import crypt
from agent.system.calls import Calls
from agent.system.factory import Search
from agent.system.simulated import SimulatedSystem
from agent.system.simulated.faults import Faulty
from tests.guard.conftest import Kept
from tests.storm.chance import Chance

CASES = int(os.environ.get("PRIVET_HANDS", "30"))
SALT = crypt.salt("$2b$", b"0123456789abcdef", 4)
Hand = Callable[[SimulatedSystem], object]


def password(word: str) -> Hand:
    """Give the first account another password, under a hash that is compared after the look."""

    def give(device: SimulatedSystem) -> None:
        rows = device.read("/etc/shadow").decode().splitlines()
        name, _, rest = rows[-1].split(":", 2)
        text = "".join(f"{row}\n" for row in [*rows[:-1], f"{name}:{crypt.hashed(word, SALT)}:{rest}"])
        device.edit("/etc/shadow", text.encode(), mode=0o640)

    return give


def file(path: str, text: str, mode: int = 0o644) -> Hand:
    """Put a file there."""
    return lambda device: device.edit(path, text.encode(), mode=mode)


def gone(path: str) -> Hand:
    """Take a file away."""
    return lambda device: device.hand.discard(path)


def program(*argv: str, stdin: str = "") -> Hand:
    """Run a program."""
    return lambda device: device.run(argv, stdin.encode())


SUDO, KERNEL, SSH = "/etc/sudoers.d/90-mine", "/etc/sysctl.d/zzz-mine.conf", "/etc/ssh/sshd_config.d/00-mine.conf"
HANDS: dict[str, Hand] = {
    "a known password": password("dietpi"),
    "a private one": password("three unlisted words"),
    "sudo without a password": file(SUDO, "pi ALL=(ALL) NOPASSWD: ALL\n", 0o440),
    "sudo as before": gone(SUDO),
    "a looser file for the kernel": file(KERNEL, "kernel.dmesg_restrict = 0\nnet.ipv4.conf.all.accept_redirects = 1\n"),
    "no such file": gone(KERNEL),
    "a looser kernel": program("sysctl", "-q", "-p", "-", stdin="net.ipv4.conf.all.accept_redirects = 1\n"),
    "a stricter kernel": program("sysctl", "-q", "-p", "-", stdin="net.ipv4.conf.all.accept_redirects = 0\n"),
    "a looser file for sshd": file(SSH, "PasswordAuthentication yes\n"),
    "sshd's file as before": gone(SSH),
    "names announced": program("systemctl", "enable", "--now", "avahi-daemon.service"),
    "names not announced": program("systemctl", "disable", "--now", "avahi-daemon.service"),
    "sshd started": program("systemctl", "enable", "--now", "ssh.service"),
    "a full list of keys": file("/home/pi/.ssh/authorized_keys", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 x\n", 0o600),
}


def contradictions(kept: Kept) -> list[str]:
    """Name the settings for which the warnings say something else than the findings."""
    open_now = {w.setting for w in kept.warnings() if w.open and w.kind in ("loosened", "unknown")}
    rows = {row["setting"]: row for row in kept.ask("status")["findings"]}
    off = {name for name, row in rows.items() if row["status"] in ("loosened", "unknown")}
    waits = {name for name in off if rows[name]["waits_for"]}
    return sorted((open_now - off) | (off - waits - open_now))


def device(folder: Path) -> tuple[Kept, Faulty]:
    """Start a device whose calls are counted."""
    faulty: list[Faulty] = []

    def counted(inner: Calls) -> Calls:
        faulty.append(Faulty(inner))
        return faulty[0]

    kept = Kept(folder, partial(SimulatedSystem, calls=counted))
    kept.start()
    return kept, faulty[0]


def turns(kept: Kept, pause: int) -> None:
    """Let the guard answer, and time pass."""
    for _ in range(3):
        kept.turn()
        kept.system.tick(pause)


@cache
def length(name: str) -> int:
    """Count the calls that the guard makes when this hand was at work, if no answer comes before it is over."""
    with TemporaryDirectory() as folder:
        kept, calls = device(Path(folder))
        try:
            HANDS[name](kept.system)
            search = accounts.searches.setdefault(kept.system, Search())
            before = calls.made
            with search.lock:
                turns(kept, 2)
            return calls.made - before
        finally:
            kept.stop()


@pytest.mark.parametrize("number", range(CASES))
def test_whatever_happens_between_two_calls(tmp_path: Path, number: int) -> None:
    """Nothing breaks; when all is quiet an open warning stands for what is loose, and for nothing else."""
    drawn, names = Chance("another hand", str(number)), sorted(HANDS)
    first, second, third = (names[drawn.whole(len(names))] for _ in range(3))
    kept, calls = device(tmp_path)
    try:
        HANDS[first](kept.system)
        calls.at = calls.made + 1 + drawn.whole(length(first))

        def other(_name: str) -> None:
            HANDS[second](kept.system)

        calls.act = other
        turns(kept, 2)
        assert calls.fired == 1
        HANDS[third](kept.system)
        kept.turn()
        if (search := accounts.searches.get(kept.system)) is not None and (thread := search.thread) is not None:
            thread.join()
        turns(kept, SWEEP)
        kept.turn()
        assert contradictions(kept) == [], (first, second, third)
    finally:
        kept.stop()


def test_a_guard_that_forgets_what_it_told_is_caught(tmp_path: Path) -> None:
    """The known-bad twin: what is loose stands nowhere, and that is seen."""
    kept, _ = device(tmp_path)
    try:
        HANDS["a full list of keys"](kept.system)
        turns(kept, 2)
        assert contradictions(kept) == []
        kept.house.books.keep_warnings(())
        assert contradictions(kept) == ["ssh.authorized_keys"]
    finally:
        kept.stop()
