"""The courier as a process of its own, between a guard played by the test and a real broker."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import Missing, Refused
from agent.courier import cage, wire
from provisioning.broker.mosquitto import Broker, free_port
from tests.courier.rig import FLEET, Site
from tests.courier.test_link import send_from_collector

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


class Guard:
    """The guard's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.settimeout(10)
        path.chmod(0o666)
        self.link: socket.socket | None = None
        self.frames = wire.Frames(wire.COURIER_FRAMES)
        self.heard: list[list[Any]] = []

    def accept(self) -> None:
        """Take the courier in."""
        self.link, _ = self.listener.accept()
        self.link.settimeout(10)
        self.frames, self.heard = wire.Frames(wire.COURIER_FRAMES), []

    def say(self, *fields: object) -> None:
        """Send a frame."""
        assert self.link is not None
        self.link.sendall(wire.frame(*fields))

    def until(self, kind: str, count: int = 1) -> list[list[Any]]:
        """Listen until so many frames of a kind have come; return them."""
        assert self.link is not None
        while len(found := [frame for frame in self.heard if frame[0] == kind]) < count:
            received = self.link.recv(65536)
            assert received, f"the courier hung up: {self.heard}"
            self.heard += self.frames.feed(received)
        return found

    def close(self) -> None:
        """Go away."""
        for end in (self.link, self.listener):
            if end is not None:
                end.close()


@contextmanager
def couriered(site: Site, name: str) -> Iterator[tuple[Guard, subprocess.Popen[str]]]:
    """Run a courier with an identity, in a directory it may enter; as nobody when we are root."""
    with tempfile.TemporaryDirectory(prefix="privet-courier-") as made:
        room = Path(made)
        room.chmod(0o711)
        home = room / "home"
        home.mkdir(mode=0o700)
        for source in site.device(name).iterdir():
            (home / source.name).write_bytes(source.read_bytes())
            (home / source.name).chmod(0o600)
        if os.geteuid() == 0:
            for path in (home, *home.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        guard = Guard(room / "courier.sock")
        argv = [sys.executable, "-m", "agent.courier", "--socket", str(room / "courier.sock"), "--home", str(home)]
        process = subprocess.Popen([*argv, "--user", str(NOBODY)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            yield guard, process
        finally:
            guard.close()
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def connect(guard: Guard, broker: Broker, name: str) -> None:
    """Do the guard's part of the beginning."""
    guard.accept()
    assert guard.until("hello") == [["hello", 1]]
    guard.say("link", {"host": "127.0.0.1", "port": broker.setup.port, "fleet": FLEET, "device": name})
    assert guard.until("state")[0] == ["state", "connected", ""]


def test_it_carries_both_ways_and_ends_cleanly(site: Site, broker: Broker):
    """Messages go out and are answered, a policy comes in; SIGTERM ends it with 0 and a goodbye to the broker."""
    with couriered(site, "carrier") as (guard, process):
        connect(guard, broker, "carrier")
        for number in range(20):
            guard.say("publish", number, "up/comfort", b"sealed")
        assert [frame[1] for frame in guard.until("sent", 20)] == list(range(20))
        send_from_collector(site, broker, "carrier", b"policy 3")
        assert guard.until("received") == [["received", "policy", b"policy 3"]]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read().splitlines() == ["courier: connected"]


def test_it_gave_up_what_it_does_not_need(site: Site, broker: Broker):
    """Seen from outside: no root, no groups, no new privileges, no programs, few descriptors, bounded memory."""
    with couriered(site, "caged") as (guard, process):
        connect(guard, broker, "caged")
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if ":" in line
        )
        assert "0" not in status["Uid"].split() + status["Gid"].split()
        assert status["NoNewPrivs"].strip() == "1"
        assert int(status["CapEff"], 16) == 0
        assert int(status["Umask"], 8) == 0o077
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        for line in (
            "Max address space         201326592",
            "Max open files            64",
            "Max processes             0",
        ):
            assert line in limits
        if os.geteuid() == 0:
            assert status["Groups"].strip() == ""


def test_a_guard_that_restarts_is_found_again(site: Site, broker: Broker):
    """The courier outlives its guard: it says that it is gone, tries again, and begins anew with hello."""
    with couriered(site, "faithful") as (guard, process):
        connect(guard, broker, "faithful")
        assert guard.link is not None
        guard.link.close()
        connect(guard, broker, "faithful")
        guard.say("publish", 1, "state", b"x")
        assert guard.until("sent") == [["sent", 1]]
        assert process.poll() is None


@pytest.mark.parametrize(
    "wrong", [b"\xff\xff\xff\xff", b"\0\0\0\1\0", wire.frame("publish", 1, "policy", b"x"), wire.frame("sent", 1)]
)
def test_a_guard_that_talks_nonsense_is_left(site: Site, broker: Broker, wrong: bytes):
    """Anything but the known frames ends the connection, with a sentence and without a traceback."""
    with couriered(site, "strict") as (guard, process):
        connect(guard, broker, "strict")
        assert guard.link is not None
        guard.link.sendall(wrong)
        end = time.monotonic() + 5
        while guard.link.recv(65536):
            assert time.monotonic() < end
        assert process.poll() is None
        assert process.stderr is not None
        assert process.stderr.readline() == "courier: connected\n"
        assert "; " in process.stderr.readline()
        process.terminate()
        assert process.wait(5) == 0
        assert "Traceback" not in process.stderr.read()


def test_it_does_not_run_as_root():
    """Told to become root, or an unknown user, it refuses with a sentence and the right exit code."""
    if os.geteuid() == 0:
        for user, code in (("root", Refused.exit_code), ("nobody-here", Missing.exit_code)):
            argv = [sys.executable, "-m", "agent.courier", "--user", user]
            done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
            assert done.returncode == code
            assert len(done.stderr.splitlines()) == 1
    else:
        cage.drop("")  # nothing to give up: it stays who it is
        assert os.geteuid() != 0


CAGED = """
import os, socket, sys
from pathlib import Path
from agent.courier import cage
home = Path(sys.argv[1])
lacks = cage.confine(home)
tried = {
    "read": lambda: open("/etc/passwd").close(),
    "list": lambda: os.listdir("/home"),
    "write": lambda: open(home.parent / "outside", "w").close(),
    "write home": lambda: open(home / "new", "w").close(),
    "fork": lambda: os.fork() or os._exit(0),
    "listen": lambda: socket.create_server(("127.0.0.1", int(sys.argv[2]))).close(),
    "memory": lambda: bytes(1 << 28),
}
(home / "mine").read_bytes()
for name, act in tried.items():
    try:
        act()
        print(name, "done")
    except (OSError, MemoryError) as error:
        print(name, "refused")
print(*lacks)
"""


def test_the_cage_closes_the_disk_the_network_and_the_memory(tmp_path: Path):
    """Even with root's rights: reads its own directory and is refused all else. Twin: without the cage it is not."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine").write_bytes(b"x")
    argv = [sys.executable, "-c", CAGED, str(home), str(free_port())]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    outcome = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines() if line and "kernel" not in line)
    landlocked = "no Landlock" not in done.stdout
    refused = {name for name, word in outcome.items() if word == "refused"}
    assert "memory" in refused
    assert not landlocked or {"read", "list", "write", "write home", "listen"} <= refused
    assert os.geteuid() == 0 or "fork" in refused  # root's processes are not counted
    argv[2] = CAGED.replace("lacks = cage.confine(home)", "lacks = ()")
    free = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert free.stdout.count("refused") == 0
