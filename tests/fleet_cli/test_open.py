"""`open run` and `open forget` as an owner runs them: a real device, both brokers, one reading into the home."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Missing, Refused
from provisioning.broker.mosquitto import free_port
from provisioning.cli.open import login
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.fleet_cli.test_receiving import COMMAND, started
from tests.house import ROOT
from tests.opener.home import Neighbour, OwnMosquitto


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A fleet; who receives its telemetry is still to come."""
    made = Fleet.create(tmp_path / "fleet", "garden")
    made.safe.seal(broker_host="127.0.0.1", broker_port=str(free_port()))
    return made


@pytest.fixture
def broker(fleet: Fleet) -> Iterator[None]:
    """The verb `broker up`."""
    process = started("broker", "up", "--fleet", str(fleet.safe.directory), "--collector", "home", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ok"]
    yield
    process.terminate()
    process.communicate(timeout=10)


def ran(fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of `open` to its end, with nobody at the terminal."""
    argv = (*COMMAND, "open", words[0], "--fleet", str(fleet.safe.directory), *words[1:])
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def hub(fleet: Fleet, tmp_path: Path) -> Fleet:
    """A hub that made its keys itself and was admitted; all that the fleet ever had of them is public."""
    place, request, told = tmp_path / "hub", tmp_path / "hub" / "request-home.json", tmp_path / "answer.json"
    for words in (
        ("open", "ask", "--fleet", str(place), "--no-passphrase"),
        ("recipient", "admit", "--fleet", str(fleet.safe.directory), str(request), "-o", str(told)),
        ("open", "take", "--fleet", str(place), str(told)),
    ):
        subprocess.run((*COMMAND, *words), cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with pytest.raises(Missing):
        fleet.recipient_key("home")
    return Fleet.open(place)


def test_a_reading_comes_home(fleet: Fleet, hub: Fleet, broker, tmp_path: Path):
    """The owner agrees on the device and on the hub; Home Assistant is told of a sensor; forget takes it back.

    The hub has the key, the fleet has not.
    """
    policy = issue_policy(fleet, ROOT / "device_profiles" / "home_sensor.toml")
    device = Device("porch", tmp_path / "d", raspberry_pi(CHEAP), seed_files(fleet, policy, "porch"))
    crowd = Crowd()
    crowd.speed = 5
    with OwnMosquitto(tmp_path / "own") as own:
        neighbour = Neighbour(own.port)
        to = ("--own", f"127.0.0.1:{own.port}", "--json")
        assert ran(hub, "run", "--as", "node_red", *to).returncode == 77  # nobody has read what it means
        outlets = ("--as", "home_assistant", "--as", "node_red", "--yes", "--count", "1", "--seconds", "40")
        opening = started("open", "run", "--fleet", str(hub.safe.directory), *outlets, *to)
        try:
            device.boot()
            device.enrol(fleet)
            device.agree("climate")
            crowd.join(device)
            device.measure(temperature="21.537")
            ends = time.monotonic() + 40
            while not (opening.poll() is not None and device.confirmed()) and time.monotonic() < ends:
                crowd.turn(0.02)
            out, err = opening.communicate(timeout=5)
            assert device.confirmed()
        finally:
            opening.kill()
            crowd.close()
        assert (opening.returncode, err, json.loads(out)["readings"]) == (0, "", 1)
        neighbour.wait(lambda: len(neighbour.got) >= 3)
        got = {topic: json.loads(payload) for topic, payload, _ in neighbour.got}
        assert got["homeassistant/sensor/garden_porch/climate-temperature/config"]["device_class"] == "temperature"
        assert got["privet-open/node-red/garden/porch/climate/temperature"]["value"] == 21.5
        assert json.loads(ran(hub, "forget", *to).stdout)["cleared"] == 1
        late = Neighbour(own.port)
        neighbour.wait(lambda: neighbour.got[-1][1] == b"")
        assert late.got == []
        late.close()
        neighbour.close()


def test_it_says_what_opening_means_and_where_it_may_not_go(fleet: Fleet, tmp_path: Path):
    """Plain words each time; a broker elsewhere, no broker, no directory: one sentence and its exit code."""
    add_recipient(fleet, "home")
    pages = tmp_path / "pages"
    pages.mkdir()
    told = ran(fleet, "run", "--as", "prometheus", "--pages", str(pages), "--yes", "--seconds", "0")
    assert "in plain text" in told.stderr and "--yes" not in told.stderr and told.returncode == 69
    assert "never reached" in told.stderr
    again = ran(fleet, "run", "--as", "prometheus", "--pages", str(pages), "--seconds", "0")
    assert "in plain text" in again.stderr and again.returncode == 69
    for words, code, said in (
        (("--as", "node_red", "--own", "198.51.100.7:1883"), 77, "no private one"),
        (("--as", "node_red"), 65, "name your own with --own"),
        (("--as", "prometheus", "--pages", str(tmp_path / "none")), 66, "is no directory"),
        (("--as", "node_red", "--own", f"127.0.0.1:{fleet.safe.facts['broker_port']}"), 77, "broker of the fleet"),
    ):
        refused = ran(fleet, "run", *words)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (code, 1)
        assert said in refused.stderr


def test_a_password_comes_from_a_closed_file(tmp_path: Path):
    """Its first line; one that others can read, or that is not there, is refused."""
    file = tmp_path / "password"
    with pytest.raises(Missing):
        login("opener", file)
    file.write_bytes(b"secret word\n")
    file.chmod(0o640)
    with pytest.raises(Refused, match="chmod 600"):
        login("opener", file)
    file.chmod(0o600)
    made = login("opener", file)
    assert made is not None and made.password.reveal() == b"secret word"
    assert "secret" not in repr(made).replace("<secret>", "")
    with pytest.raises(BadInput, match="belong together"):
        login("opener", None)
