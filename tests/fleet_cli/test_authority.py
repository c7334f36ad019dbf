"""`privet-fleet authority`: the root made apart, away from daily work, and back to renew."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from provisioning.cli.main import cli
from provisioning.fleet.identity import Fleet


def told(*words: str) -> dict[str, Any]:
    """Run the command with --json and return its answer."""
    result = CliRunner().invoke(cli, [*words, "--json"])
    answer: dict[str, Any] = json.loads(result.stdout)
    assert answer["ok"] == (result.exit_code == 0), result.stderr
    return answer


def test_the_root_is_made_apart_and_renews(tmp_path: Path):
    """`init --root` leaves no root key in the fleet's directory; `authority renew` needs it, and adds a name."""
    stick, fleet = str(tmp_path / "stick"), str(tmp_path / "fleet")
    told("init", "--fleet", fleet, "--no-passphrase", "--root", stick, "--broker", "broker.garden.org")
    assert not list((tmp_path / "fleet").rglob("root.key"))
    before = told("authority", "renew", "--fleet", fleet, "--dry-run")
    assert "broker.garden.org" in before["names"] and not before["changed"]
    for place, code in (("mysql://host/fleet", 65), ("postgresql://ada:secret@host/fleet", 77)):
        refused = told("init", "--fleet", str(tmp_path / "new"), "--no-passphrase", "--registry", place)
        assert (refused["code"], "secret" in refused["error"], (tmp_path / "new").exists()) == (code, False, False)
    refused = told("authority", "renew", "--fleet", fleet)
    assert (refused["code"], "holds no fleet" in refused["error"]) == (66, True)
    after = told("authority", "renew", "--fleet", fleet, "--root", stick, "--server-name", "other.org")
    assert {"broker.garden.org", "other.org"} < set(after["names"])
    assert Fleet.open(tmp_path / "fleet").server(["a.other.org"]).certificate
