"""`privet-fleet profile evidence`: the page, the object, and what the fleet knows of its devices and no more."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from provisioning.cli.evidence import LIMIT, NO_REGISTRY, NONE, WAIVERS
from provisioning.cli.main import cli
from provisioning.fleet import states
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import DAY, Registry
from provisioning.fleet.rollout import HAS, Plan, Rollout, Standing, record
from provisioning.fleet.tables import ledger
from provisioning.profile.issue import issue_policy
from tests.fleet_cli.test_devices import Desk
from tests.fleet_cli.test_verbs import BASE


@pytest.fixture
def house(tmp_path: Path) -> Desk:
    """Give a fleet and its profile."""
    return Desk(tmp_path)


def test_the_page_and_the_object_say_the_same(house: Desk):
    """Markdown for people and into a file, JSON for programs; no fleet is needed for it."""
    profiles = ["--profiles", str(house.folder / "profiles")]
    asked = ["profile", "evidence", "base", *profiles, "--fleet", str(house.folder / "none")]
    page = CliRunner().invoke(cli, asked)
    assert page.exit_code == 0 and "### EN303645:5.6-1: Interfaces that are not used are off" in page.stdout
    facts = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)
    assert facts["model"] == "base" and "known" not in facts
    assert CliRunner().invoke(cli, [*asked, "-o", str(house.folder / "page.md")]).exit_code == 0
    assert (house.folder / "page.md").read_text() == page.stdout[:-1]
    wrong = CliRunner().invoke(cli, [*asked, "--known", "--json"])
    assert (wrong.exit_code, json.loads(wrong.stdout)["ok"]) == (66, False)


def test_only_what_the_fleet_knows(house: Desk):
    """Nothing before a push; then what devices answered, and whether that policy is what the profile says now."""
    told = house.told("profile", "evidence", "base", "--known")
    assert told["known"] == {"policy": None, "registry": None, "waivers": None,
                             "words": [NONE, LIMIT, NO_REGISTRY, WAIVERS]}  # fmt: skip
    assert not (house.fleet / "registry.db").exists()
    fleet, path = Fleet.open(house.fleet), house.folder / "profiles/base.toml"
    made = issue_policy(fleet, path)
    plan = Plan(stages=(100,), failures=0, enough=90)
    rollout = Rollout.begin(record(fleet, "base"), "base", made.sequence, made.signed, plan)
    rollout.aim(["d-1", "d-2"])
    rollout.devices["d-1"] = Standing(state=HAS, at=86400, waiting=2, why=0)
    rollout.save()
    known = house.told("profile", "evidence", "base", "--known")["known"]
    assert (known["policy"], known["same_as_profile"], known["devices"]) == (made.sequence, True, 2)
    assert (known["count"]["has"], known["count"]["open"], known["count"]["waiting"]) == (1, 1, 1)
    assert known["words"][2] == LIMIT and "1970-01-02" in known["words"][1]
    path.write_text(BASE.replace("retention_days = 30", "retention_days = 20", 1))
    known = house.told("profile", "evidence", "base", "--known")["known"]
    assert not known["same_as_profile"] and "does not say what this profile says now" in known["words"][0]


def test_the_registry_is_told_in_counts_alone(house: Desk):
    """States, quarantine, last contact, the ledger; on the page and as an object, and no device by name or serial."""
    (house.folder / "serials.csv").write_text("serial\n10000000deadbeef\n10000000deadbeee\n10000000deadbeed\n")
    house.told("profile", "compile", "base")
    planned = house.told(
        "batch", "create", "--serials", str(house.folder / "serials.csv"), "--enrol", "127.0.0.1:8444"
    )["devices"]
    registry = Registry(Fleet.open(house.fleet))
    one, two, _ = planned
    for device in (one, two):
        registry.happened(device, states.CLAIM)
    with registry.act() as (_, book):
        book.note(registry.now() - 40 * DAY, "claimed", one)
    registry.quarantine(two, "seen at a market", "ada")
    registry.close()
    known = house.told("profile", "evidence", "base", "--known")["known"]
    found = known["registry"]
    assert found["states"] == {"claimed": 1, "planned": 1, "quarantined": 1}
    assert (found["quarantined"], found["in_use"], found["certified"], found["without_policy"]) == (1, 1, 0, 1)
    assert found["came"] == {"within_30_days": 0, "within_120_days": 1, "longer_ago": 0, "not_known": 0}
    assert found["ledger"]["whole"] and found["ledger"]["rows"] == 5
    profiles = ["--profiles", str(house.folder / "profiles")]
    page = house.said("profile", "evidence", "base", "--known", *profiles)
    assert "1 claimed, 1 planned, 1 quarantined" in page and "is whole (5 rows)" in page and WAIVERS in page
    assert not [name for name in (*planned, "deadbee", "seen at a market") if name in page + json.dumps(known)]


def test_a_ledger_that_was_changed_is_told(house: Desk):
    """The page comes all the same and says which row is wrong."""
    registry = Registry(Fleet.open(house.fleet))
    registry.batch(1)
    with registry.engine.begin() as connection:
        connection.execute(update(ledger).values(at=ledger.c.at + 1))
    registry.close()
    known = house.told("profile", "evidence", "base", "--known")["known"]
    assert known["registry"]["ledger"]["whole"] is False
    assert any("NOT whole: row 1 of the ledger was changed" in line for line in known["words"])


def test_a_registry_is_asked_with_known_alone(house: Desk):
    """Without it the page is of the profile, and nothing would be asked."""
    assert "give both" in house.told("profile", "evidence", "base", "--registry", "postgresql:///fleet")["error"]
