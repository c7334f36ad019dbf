"""`privet-fleet readings` as an operator runs it, over a store that a collector filled."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provisioning.cli.main import cli
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, pseudonym_spans
from tests.collector.device import Sender, pack
from tests.house import ROOT


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """A fleet that received three readings of two purposes."""
    made = Fleet.create(tmp_path / "fleet", "meadow")
    add_recipient(made, "collector")
    store = Store(tmp_path / "fleet" / "collector-collector" / "store.db")
    collector = Collector("meadow", "collector", made.recipient_key("collector"), store, print)
    key = made.recipient_public("collector")
    for purpose, values in (("climate", (1, 2)), ("weather", (3,))):
        sender = Sender([("collector", key)], purpose=purpose)
        assert collector.receive([sender.epoch(), sender.seal(pack(*values))])
    store.close()
    return made


def run(fleet: Fleet, *words: str) -> tuple[int, dict[str, Any]]:
    """Run a verb and read its JSON."""
    result = CliRunner().invoke(cli, ["readings", *words, "--fleet", str(fleet.safe.directory), "--json"])
    return result.exit_code, json.loads(result.output)


def test_export_goes_on_where_it_ended(fleet: Fleet, tmp_path: Path) -> None:
    """One purpose, everything, and nothing more after the last arrival; readable by its owner alone."""
    file = tmp_path / "climate.csv"
    code, told = run(fleet, "export", str(file), "--purpose", "climate")
    assert (code, told["readings"], told["troubles"]) == (0, 2, [])
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().splitlines()) == 3
    code, told = run(fleet, "export", str(tmp_path / "rest.csv"), "--after", str(told["after"]))
    assert (code, told["readings"]) == (0, 0)
    code, told = run(fleet, "export", str(tmp_path / "all.influx"), "--as", "influx", "--device", "r7k2")
    assert (code, told["readings"]) == (0, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.influx", "climate.csv", "fleet", "rest.csv"]


def test_devices_have_pseudonyms_unless_asked_otherwise(fleet: Fleet, tmp_path: Path) -> None:
    """The usual file does not name the device, nor its count of starts; --named does, and so says the answer."""
    code, told = run(fleet, "export", str(tmp_path / "usual.csv"))
    assert (code, told["named"]) == (0, False)
    usual = (tmp_path / "usual.csv").read_text()
    assert "r7k2" not in usual
    assert len(usual.splitlines()) == 4
    assert len({line.partition(",")[0] for line in usual.splitlines()[1:]}) == 2, "one in each purpose"
    code, told = run(fleet, "export", str(tmp_path / "named.csv"), "--named")
    assert (code, told["named"]) == (0, True)
    assert (tmp_path / "named.csv").read_text().count("\nr7k2,") == 3


def test_a_pseudonym_lasts_as_the_newest_policy_says(fleet: Fleet, tmp_path: Path) -> None:
    """The newest of each class counts, and of several classes the shortest span."""
    assert pseudonym_spans(fleet) == {}
    fleet.safe.seal(broker_host="b.example", broker_port="8883")
    text = (ROOT / "device_profiles" / "base.toml").read_text()
    for span in ("1d", "7d"):
        promise = f'retention_days = 30\npseudonym = "{span}"'
        (tmp_path / "base.toml").write_text(text.replace("retention_days = 30", promise))
        issue_policy(fleet, tmp_path / "base.toml")
    assert pseudonym_spans(fleet) == {"climate": 7 * 86400, "warnings": 7 * 86400}


def test_export_refuses_what_it_cannot_do(fleet: Fleet, tmp_path: Path) -> None:
    """An existing file, a folder that is not there, a store that is not there: one sentence each, nothing left."""
    (tmp_path / "mine").write_text("keep")
    assert run(fleet, "export", str(tmp_path / "mine"))[0] == 65
    assert (tmp_path / "mine").read_text() == "keep"
    assert run(fleet, "export", str(tmp_path / "no" / "where"))[0] != 0
    assert run(fleet, "export", str(tmp_path / "x"), "--store", str(tmp_path / "no.db"))[0] != 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fleet", "mine"]


def test_forget_keeps_what_was_promised(fleet: Fleet, tmp_path: Path) -> None:
    """By profile nothing is old enough yet; by days what one purpose holds goes, after a dry run that tells it."""
    assert run(fleet, "forget", "--profile", "base")[1]["forgotten"] == {"climate": 0, "warnings": 0}
    path = fleet.safe.directory / "collector-collector" / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE record SET received = received - 100")  # as if it had come a while ago
    assert run(fleet, "forget", "--purpose", "climate", "--days", "0", "--dry-run")[1]["forgotten"] == {"climate": 1}
    assert run(fleet, "forget", "--purpose", "climate", "--days", "0")[1]["forgotten"] == {"climate": 1}
    code, told = run(fleet, "export", str(tmp_path / "left.csv"))
    assert (code, told["readings"]) == (0, 1)
    assert run(fleet, "forget")[0] == 65
    assert run(fleet, "forget", "--profile", "base", "--purpose", "nothing")[0] == 65


def test_who_may_read_and_who_did(fleet: Fleet, tmp_path: Path) -> None:
    """A granted reader gets their purposes, everybody else a sentence; each reading is a line; withdrawn at once."""
    code, told = run(fleet, "grant", "ada", "--purpose", "climate", "--days", "30")
    assert (code, told["reader"]) == (0, "ada")
    code, told = run(fleet, "export", str(tmp_path / "ada.csv"), "--reader", "ada")
    assert (code, told["readings"]) == (0, 2)
    for words in (("--reader", "ada", "--purpose", "weather"), ("--reader", "bob"), ()):
        code, told = run(fleet, "export", str(tmp_path / "no.csv"), *words)
        assert (code, "may not read" in told["error"]) == (77, True)
    assert not (tmp_path / "no.csv").exists()
    assert [(one["reader"], one["purpose"], one["due"]) for one in run(fleet, "readers")[1]["readers"]] == [
        ("ada", "climate", False)
    ]
    assert [(one["name"], one["purposes"]) for one in run(fleet, "readers", "--seen")[1]["seen"]] == [
        ("ada", "climate")
    ]
    assert run(fleet, "withdraw", "ada")[1]["withdrawn"] == 1
    assert run(fleet, "export", str(tmp_path / "again.csv"))[1]["readings"] == 3  # nobody is named: the owner's alone


def test_a_collector_forgets_by_itself(fleet: Fleet) -> None:
    """While it runs, and at its start, what is over the time that a profile promises goes, and it says so."""
    path = fleet.safe.directory / "collector-collector" / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE record SET received = 1700000000")
    words = ["--fleet", str(fleet.safe.directory), "--host", "127.0.0.1", "--quiet", "--seconds", "0"]
    done = CliRunner().invoke(cli, ["collect", *words, "--profile", "base"])
    assert "forgotten: climate 1" in done.stderr
    store = Store(path)
    assert [one.place.purpose for one in store.records()] == ["weather"]
    store.close()
