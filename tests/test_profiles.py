"""Every device profile that ships compiles, and keeps a simulated Raspberry Pi private from its first start on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.assess import ABSENT, OK
from agent.core.consent import NEVER_ASKED, standing
from agent.core.order import ANY
from agent.core.telemetry import Sample, minimise
from provisioning.fleet.identity import Fleet
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import as_policy
from provisioning.profile.inherit import examine, load
from provisioning.profile.issue import Issued, add_recipient, issue_policy, seed_files
from provisioning.profile.sign import payload_of
from provisioning.simulate.device import Device
from provisioning.simulate.doors import opens, signs_in
from provisioning.simulate.pi import CHEAP, PASSWORD, USER, raspberry_pi
from tests.house import ROOT

PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))
ELSEWHERE = [path for path in PROFILES if load(path, shipped()).profile.platform not in {None, "linux"}]
HERE = [path for path in PROFILES if path not in ELSEWHERE]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet that knows every recipient of every profile."""
    made = Fleet.create(tmp_path_factory.mktemp("fleets") / "fleet", "garden")
    names = {one.id for path in PROFILES for one in load(path, shipped()).profile.recipient}
    for name in sorted(names):
        add_recipient(made, name)
    made.safe.seal(broker_host="broker.example", broker_port="8883")
    return made


@pytest.fixture(params=HERE, ids=lambda path: path.stem)
def issued(request: pytest.FixtureRequest, fleet: Fleet) -> Issued:
    """A policy of each profile."""
    return issue_policy(fleet, request.param)


@pytest.fixture
def device(issued: Issued, fleet: Fleet, tmp_path: Path) -> Iterator[Device]:
    """A factory-fresh device of each class, before its first start."""
    made = Device("porch", tmp_path, raspberry_pi(CHEAP), seed_files(fleet, issued, "porch"))
    yield made
    made.stop()


def test_there_are_profiles():
    """The folder is where it should be."""
    assert {path.stem for path in HERE} >= {"base", "environment_sensor", "camera", "home_hub"}
    assert [path.stem for path in ELSEWHERE] == ["pico_sensor"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_profile_has_no_fault(path):
    """`privet-fleet profile check` has nothing to say about it."""
    assert examine(path, shipped())[1] == []


def test_the_factory_device_is_open(device: Device):
    """What the next test closes was open: without the guard the known password signs in."""
    assert signs_in(device, USER, PASSWORD)
    assert any(finding.found == ANY for finding in device.look())


def test_the_first_start_makes_it_private(device: Device):
    """Every setting is as the policy wants, the factory password is dead, and a restart changes nothing of that."""
    for _ in range(2):
        device.boot()
        findings = device.running.guard.posture.findings.values()
        assert {f.setting: f.status for f in findings if f.status not in {OK, ABSENT}} == {}
        assert device.running.books.store.get("first_boot") == {"phase": "provisioned"}
        assert not opens(device, USER, PASSWORD)
        assert not signs_in(device, USER, PASSWORD)
        assert device.running.books.warnings == ()
        device.stop()
        device.system.reboot()


def test_a_hand_edit_is_told_once_and_undone(device: Device):
    """One warning for one loosening, and the setting is back."""
    device.boot()
    device.system.edit("/etc/ssh/sshd_config.d/00-mine.conf", b"Match all\n    PermitRootLogin yes\n")
    for _ in range(3):
        device.running.turn(0.0)
    assert [warning.setting for warning in device.running.books.warnings] == ["ssh.root"]
    assert device.running.guard.posture.findings["ssh.root"].status == OK


def test_nothing_is_collected_before_the_owner_agrees(device: Device):
    """Each declared field is refused at first, and taken after consent to its purpose."""
    device.boot()
    policy = device.running.rules.policy
    assert policy is not None
    for field in policy.fields:
        device.measure(**{field.name: "48.1,11.6" if field.cell else "20"})
        assert (device.accepted, "has not agreed" in device.refused) == (0, True)
    for purpose in policy.purposes:
        device.agree(purpose.id)
    for field in policy.fields:
        device.measure(**{field.name: "48.1,11.6" if field.cell else "20"})
    device.running.turn(0.0)
    assert (device.accepted, device.refused) == (len(policy.fields), "")


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: path.stem)
def test_a_profile_of_another_platform_asks_for_nothing_of_linux(path: Path, fleet: Fleet):
    """Its policy names no setting and no secret of Linux; its fields are still refused without the owner's consent."""
    made = issue_policy(fleet, path)
    policy = as_policy(payload_of(made.signed), shipped())
    assert (policy.baseline, policy.credentials, policy.reasons, policy.channels) == ({}, (), {}, ("mqtt",))
    assert policy.fields
    for field in policy.fields:
        assert standing({}, policy, field.purpose) == NEVER_ASKED
        assert minimise(field, Sample(name=field.name, number="20", at=1_800_000_000)).at % field.bucket == 0
