"""A whole fleet from its cards to its readings: 200 devices, the real enrolment server on PostgreSQL, a real broker."""

import json
from pathlib import Path

import psycopg
from click.testing import CliRunner

from provisioning.cli.main import cli
from tests.fleet.site.postgres import Postgres

DEVICES = 200


def test_two_hundred_devices_live_from_end_to_end(tmp_path: Path, postgres: Postgres):
    """Flashed, enrolled, with the next policy, loosened by hands and by owners, the broker killed: nothing is lost."""
    report, place = tmp_path / "report.json", postgres.fresh()
    words = ["--devices", str(DEVICES), "--seconds", "15", "--outages", "1", "--registry", place]
    said = CliRunner().invoke(cli, ["simulate", *words, "--report", str(report), "--json"])
    assert said.exit_code == 0, said.output[-3000:]
    count = json.loads(said.stdout.splitlines()[-1])
    assert [count[name] for name in ("rotated", "enrolled", "connected", "acknowledged", "taken")] == [DEVICES] * 5
    assert count["outages"] == 1 and count["back"] > 0
    assert count["drifted"] == count["warned"] == count["loosened"] == count["allowed"] == DEVICES // 10
    assert count["received"] == count["accepted"] == count["measured"] >= DEVICES * 3
    seen = json.loads(report.read_bytes())
    assert seen[0]["enrolled"] < DEVICES == seen[-1]["enrolled"]
    with psycopg.connect(place) as session:
        assert session.execute("SELECT state, count(*) FROM devices GROUP BY state").fetchall() == [("active", DEVICES)]
