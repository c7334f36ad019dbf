"""Many links and a killed broker: all come back, spread, through the command as people type it."""

import json

import pytest
from click.testing import CliRunner

from agent.core.errors import Failed
from provisioning.cli.main import cli
from provisioning.simulate.links import Links
from tests.courier.rig import Site

LINKS = 150


def test_all_come_back_to_a_broker_that_was_killed():
    """Every link is there before and after, and none was counted that is not."""
    said = CliRunner().invoke(cli, ["reconnect", "--links", str(LINKS), "--within", "120", "--json"])
    assert said.exit_code == 0, said.output[-3000:]
    rounds = json.loads(said.stdout.splitlines()[0])["rounds"]
    assert [row["links"] for row in rounds] == [LINKS, LINKS]
    assert all(row["peak"] >= row["mean"] / 2 for row in rounds)
    assert rounds[1]["peak"] < LINKS / 4  # their moments lie within twenty seconds


def test_a_broker_that_stays_away_is_told(tmp_path):
    """The twin: killed and not started again, the links are not back, and that is said with their number."""
    site = Site(tmp_path)
    with site.broker("gone") as broker:
        links = Links(site.fleet, tmp_path / "links", ("127.0.0.1", broker.setup.port), 5)
        links.gather(60)
        broker.kill()
        links.scatter()
        with pytest.raises(Failed, match="0 of 5 links were back"):
            links.gather(2)
        links.close()
