"""`broker up` and `collect` as an operator runs them: real processes, a real broker, one reading all the way."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.broker.mosquitto import free_port
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.house import ROOT

COMMAND = (sys.executable, "-m", "provisioning.cli")


def started(*words: str) -> subprocess.Popen[str]:
    """Start the command."""
    pipe = subprocess.PIPE
    return subprocess.Popen((*COMMAND, *words), cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env={**os.environ})


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A fleet whose broker is to listen on a free port."""
    made = Fleet.create(tmp_path / "fleet", "garden")
    add_recipient(made, "collector")
    made.safe.seal(broker_host="127.0.0.1", broker_port=str(free_port()))
    return made


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[subprocess.Popen[str]]:
    """The verb `broker up`, until it is told to end."""
    process = started("broker", "up", "--fleet", str(fleet.safe.directory), "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ok"]
    yield process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)


class LossyLink(threading.Thread):
    """A way to the broker on which what a side sent last is lost when it hangs up at once, as under a reset."""

    def __init__(self, to: int) -> None:
        super().__init__(daemon=True)
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lost = 0

    def run(self) -> None:
        """Carry one connection."""
        with self.listener, self.listener.accept()[0] as near, socket.create_connection(("127.0.0.1", self.to)) as far:
            while True:
                ready = select.select([near, far], [], [])[0]
                if far in ready:
                    near.sendall(far.recv(65536))
                if near in ready:
                    content = near.recv(65536)
                    gone = bool(select.select([near], [], [], 0.2)[0]) and near.recv(1, socket.MSG_PEEK) == b""
                    if gone or not content:
                        self.lost += len(content)
                        return
                    far.sendall(content)


def collecting(fleet: Fleet, lossy: bool) -> subprocess.Popen[str]:
    """Start a collector that ends after one reading."""
    words: tuple[str, ...] = ("--count", "1", "--seconds", "30")
    if lossy:
        link = LossyLink(int(fleet.safe.facts["broker_port"]))
        link.start()
        words += ("--host", "127.0.0.1", "--port", str(link.port))
    return started("collect", "--fleet", str(fleet.safe.directory), "--json", *words)


@pytest.mark.parametrize("lossy", [False, True], ids=["", "lossy"])
def test_a_reading_travels_from_a_device_to_the_operators_screen(fleet: Fleet, broker, tmp_path: Path, lossy: bool):
    """`broker up` lets device and collector in, `collect --count` shows the reading and ends; the device knows.

    Also over a link that loses what is sent right before hanging up: the collector leaves when the broker has it all.
    """
    policy = issue_policy(fleet, ROOT / "device_profiles" / "base.toml")
    device = Device("porch", tmp_path / "d", raspberry_pi(CHEAP), seed_files(fleet, policy, "porch"))
    crowd = Crowd()
    crowd.speed = 5  # what comes before the collector is lost at the broker; the device sends it again after 5 s
    collect = collecting(fleet, lossy)
    try:
        device.boot()
        device.enrol(fleet)
        device.agree("climate")
        crowd.join(device)
        device.measure(temperature="21.537")
        ends = time.monotonic() + 40
        while collect.poll() is None and time.monotonic() < ends:
            crowd.turn(0.02)
        out, err = collect.communicate(timeout=5)
        reading = json.loads(out)
        assert (collect.returncode, err) == (0, "")
        found = [reading[name] for name in ("device", "name", "value", "unit")]
        assert found == ["porch", "temperature", "21.5", "Cel"]
        ends = time.monotonic() + 20
        while not device.confirmed() and time.monotonic() < ends:
            crowd.turn(0.02)
        assert device.confirmed()
    finally:
        collect.kill()
        crowd.close()
    stored = subprocess.run(
        (*COMMAND, "collect", "--fleet", str(fleet.safe.directory), "--json", "--all", "--seconds", "0"),
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(stored.stdout) == reading


def test_a_collector_without_a_broker_says_so(fleet: Fleet):
    """One sentence with the cause, exit code 69."""
    words = (*COMMAND, "collect", "--fleet", str(fleet.safe.directory), "--seconds", "1")
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (69, "")
    assert "never reached" in result.stderr
    assert "Traceback" not in result.stderr


def test_broker_up_ends_its_mosquitto(fleet: Fleet, broker):
    """Ctrl-C ends the verb with 0, and nobody listens any more."""
    place = ("127.0.0.1", int(fleet.safe.facts["broker_port"]))
    socket.create_connection(place, timeout=5).close()
    broker.send_signal(signal.SIGINT)
    assert broker.wait(10) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(place, timeout=5)
