"""`privet-fleet broker admit`: the lists of NATS and RabbitMQ as the registry says, shown first, written once."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provisioning.broker import nats, rabbitmq
from provisioning.broker.child import Member, Setup
from provisioning.cli.main import cli
from tests.fleet.enrolling import Office, asked, key

SETUP = Setup(fleet="meadow", address="127.0.0.1", port=8883, collectors=("one", "steward"), durable=True)
NODES = [word for host in ("a.example", "b.example", "c.example") for word in ("--node", host)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet with a registry."""
    return Office(tmp_path)


def told(office: Office, *words: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the command."""
    argv = ["broker", *map(str, words), "--fleet", str(office.fleet.safe.directory), "--json"]
    done = CliRunner().invoke(cli, argv)
    return done.exit_code, json.loads(done.output)


def test_only_the_devices_change():
    """Of both engines: the file for some devices, made into that for others, is what would be written for those."""
    member = Member(number=2, nodes=("a:1", "b:1", "c:1"))
    for text, wanted in [
        (nats.configuration(SETUP, ["anna", "bert"], member), nats.configuration(SETUP, ["cleo"], member)),
        (nats.configuration(SETUP, []), nats.configuration(SETUP, ["cleo"])),
    ]:
        assert json.loads(nats.relisted(text, "meadow", ["cleo"])) == json.loads(wanted)
    before, after = rabbitmq.definitions(SETUP, ["anna", "bert"]), rabbitmq.definitions(SETUP, ["cleo"])
    assert json.loads(rabbitmq.relisted(before, "meadow", ["cleo"])) == json.loads(after)
    assert nats.listed(nats.configuration(SETUP, ["anna"]), "meadow") == ["anna"]
    assert rabbitmq.listed(before, "meadow") == ["anna", "bert"]


@pytest.mark.parametrize("engine", ["nats", "rabbitmq"])
def test_a_cluster_follows_the_registry(office: Office, tmp_path: Path, engine: str):
    """Made with those who are enrolled; a change is shown, then written into each node's file alone, then nothing."""
    one, two = office.planned(2)
    office.claim(one, asked(key()))
    out = tmp_path / "out"
    assert told(office, "cluster", engine, *NODES, "--out", out)[0] == 0
    assert told(office, "admit", out)[1]["files"][0]["changed"] is False, "the cluster was made with the registry"
    office.claim(two, asked(key()))
    office.registry.quarantine(one.device, "seen at a market", "ada")
    name = "nats.conf" if engine == "nats" else "definitions.json"
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    code, said = told(office, "admit", out, "--dry-run")
    assert code == 0 and len(said["files"]) == 3
    assert all((row["in"], row["out"]) == ([two.device], [one.device]) for row in said["files"])
    assert {path: path.read_bytes() for path in before} == before, "nothing yet"
    (out / "a.example" / name).chmod(0o640)
    if os.geteuid() == 0:
        os.chown(out / "a.example" / name, 65534, 65534)
    assert told(office, "admit", out)[1]["files"] == said["files"]
    assert {path.name for path in before if path.read_bytes() != before[path]} == {name}
    found = (out / "a.example" / name).stat()
    assert found.st_mode & 0o777 == 0o640 and found.st_uid == (65534 if os.geteuid() == 0 else os.geteuid())
    after = (out / "a.example" / name).stat().st_mtime_ns
    assert not any(row["changed"] for row in told(office, "admit", out)[1]["files"])
    assert (out / "a.example" / name).stat().st_mtime_ns == after, "what is as it should be is not written"


def test_what_people_read(office: Office, tmp_path: Path):
    """A line for each who comes and goes, and what makes the running broker hear of it."""
    (tmp_path / "node").mkdir()
    (tmp_path / "node/definitions.json").write_text(rabbitmq.definitions(SETUP, ["anna", "bert"]))
    (tmp_path / "by-hand").write_text("bert\n\ncleo\n")
    argv = ["broker", "admit", str(tmp_path / "node"), "--also", str(tmp_path / "by-hand")]
    said = CliRunner().invoke(cli, [*argv, "--fleet", str(office.fleet.safe.directory)]).output
    assert "  + cleo" in said and "  - anna" in said and "+ bert" not in said
    assert "rabbitmqctl delete_user anna" in said


def test_files_that_are_not_ours_stay(office: Office, tmp_path: Path):
    """Of another fleet, damaged, a link, or none at all: one sentence, and nothing is written."""
    node = tmp_path / "node"
    node.mkdir()
    assert told(office, "admit", node)[0] == 66
    other = Setup(fleet="hill", address="127.0.0.1", port=8883, collectors=("one",), durable=True)
    for name, text in [
        ("nats.conf", nats.configuration(other, ["anna"])),
        ("nats.conf", "{"),
        ("nats.conf", "[]"),
        ("definitions.json", rabbitmq.definitions(other, ["anna"])),
        ("definitions.json", '{"users": 1}'),
    ]:
        (node / name).write_text(text)
        code, said = told(office, "admit", node)
        assert (code, "not as privet-fleet wrote it" in said["error"]) == (65, True), text
        assert (node / name).read_text() == text
        (node / name).unlink()
    (tmp_path / "elsewhere").write_text(nats.configuration(SETUP, ["anna"]))
    (node / "nats.conf").symlink_to(tmp_path / "elsewhere")
    assert told(office, "admit", node)[0] == 77
    assert "anna" in (tmp_path / "elsewhere").read_text()
