"""A simulated device runs the real guard: what it decides, keeps and refuses is what a real one would."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import PrivetError
from agent.system import crypt
from agent.system.simulated import SimulatedSystem
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import Issued, add_recipient, issue_policy, seed_files
from provisioning.simulate.crowd import Crowd
from provisioning.simulate.device import Device
from provisioning.simulate.doors import opens, signs_in
from provisioning.simulate.pi import CHEAP, PASSWORD, USER, YESCRYPT, raspberry_pi
from tests.house import ROOT


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet with its recipient and a broker that nobody runs."""
    made = Fleet.create(tmp_path_factory.mktemp("fleets") / "fleet", "garden")
    add_recipient(made, "collector")
    made.safe.seal(broker_host="127.0.0.1", broker_port="9")
    return made


@pytest.fixture(scope="module")
def issued(fleet: Fleet) -> Issued:
    """The policy of the base profile."""
    return issue_policy(fleet, ROOT / "device_profiles" / "base.toml")


@pytest.fixture
def device(fleet: Fleet, issued: Issued, tmp_path: Path) -> Iterator[Device]:
    """A factory-fresh device."""
    made = Device("porch", tmp_path, raspberry_pi(CHEAP), seed_files(fleet, issued, "porch"))
    yield made
    made.stop()


def test_the_card_holds_the_password_that_everybody_knows():
    """As the demo uses it: yescrypt, and open over SSH."""
    system = SimulatedSystem(image=raspberry_pi(YESCRYPT))
    fields = dict(line.split(":")[:2] for line in system.read("/etc/shadow").decode().splitlines())
    assert fields[USER].startswith("$y$")
    assert crypt.matches(PASSWORD, fields[USER])
    assert {field for name, field in fields.items() if name != USER} == {"*"}


def test_another_password_does_not_open_it(device: Device):
    """The doors of the tests tell right from wrong."""
    assert opens(device, USER, PASSWORD)
    assert not opens(device, USER, "Raspberry")
    assert signs_in(device, USER, PASSWORD)
    assert not signs_in(device, USER, "Raspberry")
    assert not signs_in(device, "nobody", PASSWORD)


def test_a_device_that_was_not_started_says_so(device: Device):
    """Not a traceback, a sentence."""
    device.measure(temperature="20")
    assert "has not been started" in device.refused
    with pytest.raises(PrivetError, match="has not been started"):
        device.confirmed()


def test_a_restart_keeps_consent_and_journal(device: Device):
    """The card's state lies in the device's folder and survives guard and device."""
    device.boot()
    device.agree("climate")
    entries = len(device.running.books.store.entries())  # type: ignore[attr-defined]
    device.stop()
    device.system.reboot()
    device.boot()
    assert device.running.books.consents["climate", "collector"].state == "given"
    assert len(device.running.books.store.entries()) > entries  # type: ignore[attr-defined]
    assert device.system.boot == 2


def test_readings_wait_sealed_on_the_card_without_a_broker(device: Device):
    """What was accepted lies in the queue, unreadable, and nobody has confirmed it."""
    device.boot()
    device.agree("climate")
    device.measure(temperature="21.537")
    device.running.turn(0.0)
    assert (device.accepted, device.confirmed()) == (1, False)
    folder = "/var/lib/privet/queue/climate"
    kept = b"".join(device.system.read(f"{folder}/{name}") for name in device.system.entries(folder))
    assert len(kept) > 100
    assert b"temperature" not in kept


def test_an_undeclared_field_is_refused(device: Device):
    """With the sentence that an application would get."""
    device.boot()
    device.measure(heartbeat="61")
    assert (device.accepted, "is not declared" in device.refused) == (0, True)


def test_a_device_without_a_broker_stays_private_and_says_why_it_is_offline(device: Device, fleet: Fleet):
    """The link's own sentence reaches the guard, and hand edits are still undone."""
    device.boot()
    device.enrol(fleet)
    crowd = Crowd()
    crowd.join(device)
    ends = time.monotonic() + 5
    while not device.running.link[1].startswith("nothing listens") and time.monotonic() < ends:
        crowd.turn(0.02)
    assert device.running.link[0] == "offline"
    assert device.running.link[1].startswith("nothing listens")
    device.system.edit("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PermitRootLogin yes\n")
    while not device.running.books.warnings and time.monotonic() < ends:
        crowd.turn(0.02)
    assert [warning.setting for warning in device.running.books.warnings] == ["ssh.root"]


def test_clocks_follow_ours_and_can_be_sped_up(device: Device):
    """Whole seconds, none lost."""
    device.boot()
    crowd = Crowd()
    crowd.join(device)
    before = device.system.clock().uptime
    crowd.speed = 100
    begun = turned = time.monotonic()
    while turned < begun + 0.2:
        turned = time.monotonic()
        crowd.turn(0.01)
    went = device.system.clock().uptime - before
    # A turn takes in all that passed before it began, in whole seconds, and nothing that is still to come.
    assert (turned - begun) * 100 - 2 <= went <= (time.monotonic() - begun) * 100 + 2
