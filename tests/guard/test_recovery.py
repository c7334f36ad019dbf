"""The owner's new secrets handed over: sealed to the fleet's recovery recipient, or a minute on the screen."""

import pytest
from click.testing import CliRunner

from agent.core.errors import BadInput, BadPolicy, Missing, Tampered
from agent.core.policy import read_policy
from agent.core.role import OWNER
from agent.guard import recovery
from agent.guard.callers import Caller
from agent.registry import settings
from provisioning.cli.main import cli
from provisioning.cli.recover import opened
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from provisioning.profile.sign import payload_of
from provisioning.simulate.device import Device
from provisioning.simulate.pi import CHEAP, raspberry_pi
from tests.house import ROOT

PROFILE = """model = "porch"
title = "A porch light"
inherits = "base"
[recovery]
recipient = "recovery"
console = true
[broker]
host = "broker.test"
"""


class Screen:
    """What stands on the device's first terminal; wiping takes all away."""

    def __init__(self):
        self.shown = b""
        self.history = []

    def take(self, content):
        """Show it."""
        self.history.append(content)
        self.shown = (self.shown + content).rpartition(recovery.WIPE)[2] if recovery.WIPE in content else content


@pytest.fixture
def fleet(tmp_path):
    """Make a fleet with a recovery recipient, and a profile that names it."""
    made = Fleet.create(tmp_path / "fleet", "home")
    for name in ("collector", "recovery"):
        add_recipient(made, name)
    (tmp_path / "base.toml").write_text((ROOT / "device_profiles/base.toml").read_text())
    (tmp_path / "porch.toml").write_text(PROFILE)
    return made


def started(fleet, folder, profile="porch"):
    """Flash a simulated device with a screen, and let it have its first boot."""
    issued = issue_policy(fleet, folder / f"{profile}.toml")
    device = Device("d1", folder / "d1", raspberry_pi(CHEAP), seed_files(fleet, issued, "d1"))
    screen = Screen()
    device.system.hand.produced(recovery.SCREEN, bytes, screen.take, 0o620)
    device.boot()
    return device, screen


def waiting(device):
    """Return the owner's new password."""
    return device.running.books.store.get("credential/linux_account/pi")


def test_sealed_to_the_fleet_and_shown_for_a_minute(fleet, tmp_path):
    """The fleet opens the sealed file to the very password that PAM takes; the screen is empty again; nothing leaks."""
    device, screen = started(fleet, tmp_path)
    secret = waiting(device)
    content = device.system.read(recovery.SEALED)
    assert device.system.stat(recovery.SEALED).mode == 0o600
    name, secrets = opened(fleet, content, "recovery")
    assert name == "d1" and secrets["linux_account/pi"] == secret.decode()
    assert secrets == recovery.waiting(device.running)
    assert opened(fleet, content.hex().encode() + b"\n", "recovery")[0] == "d1"
    assert screen.shown == b"" and any(secret in shown for shown in screen.history)
    assert device.system.clock().uptime >= recovery.SECONDS
    assert not any(secret.decode() in said for said in device.said)
    for path, node in device.system.disk.walk():
        assert secret not in bytes(node.content), path
    store = device.running.books.store
    kinds = [entry.kind for entry in store.entries()]
    assert "credentials_sealed" in kinds and "credentials_on_screen" in kinds
    assert not any(secret.decode() in repr(entry) for entry in store.entries())
    acts, owner = device.running.acts, Caller(name="owner", role=OWNER)
    assert bytes.fromhex(acts.perform(owner, {"op": "credentials", "sealed": True})["sealed"]) == content
    acts.perform(owner, {"op": "credentials", "taken": ["linux_account/pi"]})
    assert len(secrets) == 1 or device.system.read(recovery.SEALED) == content  # something still waits
    acts.perform(owner, {"op": "credentials", "taken": sorted(secrets)})
    with pytest.raises(Missing):
        device.system.read(recovery.SEALED)
    with pytest.raises(Missing, match="nothing is sealed"):
        acts.perform(owner, {"op": "credentials", "sealed": True})
    device.stop()


def test_without_a_wish_nothing_is_handed_over(fleet, tmp_path):
    """The shipped profile asks for neither: no file, an untouched screen, and the secret waits for the owner."""
    with (tmp_path / "base.toml").open("a") as file:
        file.write('\n[broker]\nhost = "broker.test"\n')
    device, screen = started(fleet, tmp_path, "base")
    assert waiting(device) and screen.history == []
    with pytest.raises(Missing):
        device.system.read(recovery.SEALED)
    device.stop()


def test_the_verb_opens_it_and_refuses_the_rest(fleet, tmp_path):
    """privet-fleet recover shows it; rubbish, a changed file, another recipient's are refused in a sentence."""
    device, _ = started(fleet, tmp_path)
    secret, content = waiting(device).decode(), device.system.read(recovery.SEALED)
    device.stop()
    (tmp_path / "sealed").write_text(content.hex())
    told = CliRunner().invoke(cli, ["recover", str(tmp_path / "sealed"), "--fleet", str(tmp_path / "fleet")])
    assert told.exit_code == 0 and f"linux_account/pi: {secret}" in told.output
    for bad in (b"", b"rubbish", content[:-1], b"\xff" * 40):
        with pytest.raises(BadInput, match="no sealed file"):
            opened(fleet, bad, "recovery")
    with pytest.raises(Tampered):
        opened(fleet, content[:-1] + bytes([content[-1] ^ 1]), "recovery")
    with pytest.raises(BadInput, match="not sealed to collector"):
        opened(fleet, content, "collector")
    with pytest.raises(BadInput, match="belongs to the fleet home"):
        opened(Fleet.create(tmp_path / "other", "other"), content, "recovery")


def test_policies_with_and_without_it(fleet, tmp_path):
    """A policy of before is read as one that hands nothing over; one with an odd wish is refused."""
    table = payload_of(issue_policy(fleet, tmp_path / "porch.toml").signed)
    assert read_policy(table, settings()).recovery["id"] == "recovery"
    plain = {key: value for key, value in table.items() if key != "recovery"}
    assert read_policy(plain, settings()).recovery == {}
    for odd in ({}, {"console": 1, "id": "", "key": b""}, {**table["recovery"], "more": 1}, True):
        with pytest.raises(BadPolicy):
            read_policy({**plain, "recovery": odd}, settings())
