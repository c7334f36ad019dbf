"""`privet-fleet policy` without a broker: what is shown first, whence devices are taken, what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provisioning.cli.main import cli
from provisioning.profile.issue import add_recipient, issue_policy
from tests.fleet.enrolling import Office, asked, key
from tests.house import ROOT

BASE = ROOT / "device_profiles/base.toml"
LOOSER = '\n[settings."ssh.password"]\nvalue = "yes"\nreason = "The installer signs in with a password."\n'


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet with a registry, a broker that is not there, a recipient and a first policy."""
    made = Office(tmp_path)
    made.fleet.safe.seal(broker_host="127.0.0.1", broker_port="1")
    add_recipient(made.fleet, "collector")
    issue_policy(made.fleet, BASE)
    return made


def asked_for(office: Office, *words: str) -> tuple[int, dict[str, Any], str]:
    """Run the command; return its exit code, its answer, and what it says beside that."""
    said = CliRunner().invoke(cli, ["policy", *words, "--fleet", str(office.fleet.safe.directory), "--json"])
    return said.exit_code, json.loads(said.stdout.splitlines()[-1]), said.stderr


def test_registered_devices_with_a_certificate_are_taken(office: Office, tmp_path: Path) -> None:
    """Those that were claimed, not those that were only planned; and each loosening is shown with its risk."""
    one, _planned = office.planned(2)
    office.claim(one, asked(key()))
    profile = tmp_path / "base.toml"
    profile.write_text(BASE.read_text() + LOOSER)
    code, said, shown = asked_for(office, "push", str(profile), "--registered", "--dry-run")
    assert code == 0, said
    assert list(said["devices"]) == [one.device]
    assert "Signing in over SSH with a password" in shown
    assert "guess" in shown
    office.registry.close()


def test_what_is_wrong_is_one_sentence_and_leaves_nothing(office: Office) -> None:
    """No device, odd stages, an odd name: nothing is issued, nothing is recorded."""
    before = sorted(office.fleet.safe.directory.rglob("*"))
    for words, code in (
        (("push", str(BASE)), 65),
        (("push", str(BASE), "--device", "A/b"), 65),
        (("push", str(BASE), "--device", "anna", "--stages", "5,x"), 65),
        (("push", str(BASE), "--device", "anna", "--stages", "50"), 65),
        (("status", "base", "--offline"), 66),
    ):
        assert asked_for(office, *words)[0] == code, words
    assert sorted(office.fleet.safe.directory.rglob("*")) == before
    office.registry.close()


def test_a_broker_that_is_away_leaves_a_push_to_go_on_with(office: Office) -> None:
    """The policy and its record are there; run again it is the same policy, and status says what is known."""
    for _ in range(2):
        code, said, _ = asked_for(office, "push", str(BASE), "--device", "anna")
        assert code == 69, said
        assert "not reached" in said["error"]
    code, said, _ = asked_for(office, "status")
    assert code == 69
    assert [(row["sequence"], row["state"], row["count"]["open"]) for row in said["rollouts"]] == [(2, "running", 1)]
    office.registry.close()
