"""Every misconfiguration we know, in a real mosquitto: the audit finds each of them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.core.errors import Failed
from provisioning.broker.audit.found import OPEN
from provisioning.broker.audit.run import DOORS, NAMES, choose_version, tried
from provisioning.cli.main import cli
from tests.broker.seeds import SEEDS, built
from tests.courier.rig import FLEET, Site

ATTEMPTS = {door.name: attempt for door, attempt in DOORS}
# Doors that no configuration of mosquitto opens: a broker that dies of nonsense was shown in tests/broker.
UNSEEDED = {"own", "nonsense"}


@pytest.mark.parametrize("name", SEEDS)
def test_every_misconfiguration_is_found(tmp_path: Path, name: str):
    """A real mosquitto with one thing wrong: every door that this opens is found open."""
    broker, seat = built(Site(tmp_path), name, tmp_path / "seeded")
    with broker, seat:
        choose_version(seat)
        found = {door: tried(seat, ATTEMPTS[door]) for door in SEEDS[name].doors}
    assert {door for door, one in found.items() if one.verdict == OPEN} == set(SEEDS[name].doors), found


def test_every_door_is_seeded():
    """No door is only believed to be found open."""
    assert {door for one in SEEDS.values() for door in one.doors} == set(NAMES) - UNSEEDED


def test_the_command_says_what_is_open_and_how_to_mend_it(tmp_path: Path):
    """As programs use it: identities as given, JSON, and an exit code that says open; no other door is called open."""
    broker, seat = built(Site(tmp_path), "no limit of size", tmp_path / "seeded")
    homes = [str(one.home) for one in (seat.one, seat.other, seat.gone) if one is not None]
    words = ["audit-broker", f"127.0.0.1:{seat.target.port}", "--identity", homes[0], "--other", homes[1],
             "--revoked", homes[2], "--name", FLEET, "--plain-port", str(seat.target.plain[0]),
             "--web-port", str(seat.target.web[0]), "--json"]  # fmt: skip
    with broker, seat:
        answer = CliRunner().invoke(cli, words)
    assert answer.exit_code == Failed.exit_code, answer.output
    said = json.loads(answer.output)
    assert said["ok"] is False
    assert [row["name"] for row in said["doors"] if row["verdict"] == OPEN] == ["large"]
    assert all("max_packet_size" in row["mend"] for row in said["doors"] if row["name"] == "large")
