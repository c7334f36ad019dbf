"""Policies pushed to simulated devices over a real broker: who has what, who waits for the owner, what halts it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from provisioning.cli.main import cli
from provisioning.fleet.rollout import DONE, HALTED, HAS, OPEN, REFUSED, SENT, Rollout
from provisioning.profile.issue import issue_policy, seed_files
from provisioning.simulate.command import Command
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.doors import signs_in
from provisioning.simulate.pi import CHEAP, raspberry_pi
from provisioning.simulate.stage import Stage
from tests.house import ROOT

BASE = ROOT / "device_profiles/base.toml"
CAMERA = ROOT / "device_profiles/camera.toml"
NAMES = ("anna", "bert", "cleo")
LOOSER = '\n[settings."ssh.password"]\nvalue = "yes"\nreason = "The installer signs in with a password."\n'
WAIT = 3  # seconds without an answer


class Fleet3:
    """Three devices with a broker; `push` runs the command as people type it, while the devices live on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stage = Stage.build(folder, "meadow")
        self.crowd = Crowd()
        self.profile = folder / "base.toml"
        self.profile.write_text(BASE.read_text())
        self.first = issue_policy(self.stage.fleet, self.profile)
        self.stage.broker.start()
        for name in NAMES:
            self.add(name)

    def add(self, name: str, source: Path | None = None) -> Device:
        """Flash and start a device; of another class when another profile is given."""
        issued = issue_policy(self.stage.fleet, source) if source else self.first
        seeds = seed_files(self.stage.fleet, issued, name)
        device = Device(name, self.folder / name, raspberry_pi(CHEAP), seeds)
        device.boot(listen=True)
        device.enrol(self.stage.fleet)
        self.crowd.join(device)
        return device

    def device(self, name: str) -> Device:
        """Return a device."""
        return next(one for one in self.crowd.devices if one.name == name)

    def during(self, work: Callable[[], Result]) -> Result:
        """Let the devices live while something else is done."""
        done: list[Result] = []
        thread = threading.Thread(target=lambda: done.append(work()))
        thread.start()
        while thread.is_alive():
            self.crowd.turn(0.02)
        return done[0]

    def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Turn the devices until something holds."""
        ends = time.monotonic() + seconds
        while not holds() and time.monotonic() < ends:
            self.crowd.turn(0.05)
        return holds()

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run `privet-fleet policy …`; return its exit code and what it says."""
        fleet = ["--fleet", str(self.stage.fleet.safe.directory), "--json"]
        said = self.during(lambda: CliRunner().invoke(cli, ["policy", *words, *fleet]))
        return said.exit_code, json.loads(said.stdout.splitlines()[-1])

    def push(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Push the profile to all devices, patiently, one third at a time."""
        names = [word for name in NAMES for word in ("--device", name)]
        return self.run("push", str(self.profile), *names, "--stages", "34,67,100", "--wait", str(WAIT), *words)

    def rollout(self) -> Rollout:
        """Return the record."""
        return Rollout.load(self.stage.fleet.safe.directory / "rollouts" / "base.json")

    def states(self) -> list[str]:
        """Return where the devices stand."""
        return sorted(one.state for one in self.rollout().devices.values())

    def close(self) -> None:
        """End everything."""
        self.crowd.close()
        self.stage.close()


def number(device: Device) -> int:
    """Return the number of the policy in force on a device."""
    policy = device.running.rules.policy
    return 0 if policy is None else policy.sequence


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet3]:
    """Give three devices with their broker."""
    made = Fleet3(tmp_path)
    yield made
    made.close()


def test_everybody_gets_a_policy_and_says_so(fleet: Fleet3):
    """Three stages, one device after the other; each says which policy it has, by number and digest."""
    code, said = fleet.push()
    assert (code, said["state"]) == (0, DONE), said
    assert fleet.states() == [HAS, HAS, HAS]
    assert {number(device) for device in fleet.crowd.devices} == {2}
    assert fleet.run("status", "--offline")[1]["rollouts"][0]["count"]["has"] == len(NAMES)


def test_a_looser_policy_waits_for_each_owners_yes(fleet: Fleet3):
    """The operator reads the loosening first; no device loosens; one owner says yes, and the others still wait."""
    fleet.profile.write_text(BASE.read_text() + LOOSER)
    code, said = fleet.push()
    assert code == 77, said  # nobody was there to agree
    assert not (fleet.stage.fleet.safe.directory / "rollouts").exists()
    assert fleet.push("--looser", "7")[0] == 77  # a number that was not read
    code, said = fleet.push("--looser", "1")
    assert (code, said["state"]) == (0, DONE), said
    loosenings = [one for one in said["changes"] if one["direction"] == "looser"]
    assert [one["about"] for one in loosenings] == ["ssh.password"]
    assert "guess" in loosenings[0]["risk"]
    assert said["count"]["waiting"] == len(NAMES)
    for device in fleet.crowd.devices:
        assert device.running.rules.baseline()["ssh.password"] == "no"
        assert any("asks for looser settings: ssh.password" in one.title for one in device.running.books.warnings)
        assert not signs_in(device, "pi", "raspberry")
    words = ("loosen", "ssh.password", "yes", "--for", "1h", "--reason", "installer")
    yes = Command(fleet.device("bert"), *words, stdin="y\n")
    assert fleet.until(yes.over)
    answer = yes.said()
    assert answer.code == 0, answer.text
    code, said = fleet.run("status")
    assert code == 0
    row = said["rollouts"][0]
    assert row["count"]["waiting"] == len(NAMES) - 1
    assert {name for name, one in row["devices"].items() if one["waiting"]} == {"anna", "cleo"}


def test_a_refusal_halts_it_and_the_rest_are_spared(fleet: Fleet3):
    """A device of another class refuses it: nobody after it gets the policy, also when the command is run again."""
    camera = fleet.add("door", CAMERA)
    assert fleet.until(lambda: camera.messenger is not None and camera.messenger.state_word == "connected")
    code, said = fleet.push("--device", "door", "--stages", "1,100")
    rollout = fleet.rollout()
    first = rollout.upto(0)
    if first == ["door"]:
        assert [rollout.devices[name].state for name in NAMES] == [OPEN] * 3
    assert (code, said["state"]) == (70, HALTED), said
    assert rollout.devices["door"].state == REFUSED
    assert rollout.devices["door"].why == 13  # made for another device
    assert number(camera) == 1


def test_a_push_that_was_cut_goes_on(fleet: Fleet3):
    """Devices that are away leave it unfinished; run again when they are back, it sends no new policy and ends."""
    away = fleet.device("cleo")
    assert fleet.until(lambda: away.messenger is not None and away.messenger.state_word == "connected")
    away.stop()
    fleet.crowd.devices.remove(away)
    code, said = fleet.push("--stages", "100")
    assert code == 69, said
    assert sorted(fleet.states()) == sorted([HAS, HAS, SENT])
    away.boot(listen=True)
    away.enrol(fleet.stage.fleet)
    fleet.crowd.join(away)
    assert fleet.until(lambda: number(away) == 2)  # the broker had kept it
    code, said = fleet.push()
    assert (code, said["state"], said["sequence"]) == (0, DONE, 2)


def test_a_dry_run_sends_nothing(fleet: Fleet3):
    """It shows what would change and leaves no trace, neither a policy nor a record."""
    fleet.profile.write_text(BASE.read_text() + LOOSER)
    code, said = fleet.push("--dry-run")
    assert code == 0
    assert [one["about"] for one in said["changes"] if one["direction"] == "looser"] == ["ssh.password"]
    assert not (fleet.stage.fleet.safe.directory / "rollouts").exists()
    assert {number(device) for device in fleet.crowd.devices} == {1}
