"""A simulated fleet against a real broker that is killed again and again, and the demo's known-bad twin."""

from pathlib import Path

import pytest
from rich.console import Console

from agent.core.errors import Failed
from provisioning.cli.simulate import Board, played, proven
from provisioning.simulate.demo import Demo
from provisioning.simulate.run import Run
from tests.house import ROOT

BASE = ROOT / "device_profiles" / "base.toml"


@pytest.fixture
def run(tmp_path: Path):
    """A fleet of eight that has not begun."""
    made = Run(tmp_path, BASE, 8)
    yield made
    made.close()


def test_a_fleet_loses_nothing_while_its_broker_is_killed(run: Run):
    """Every reading accepted by a device arrives once, whatever happens to the broker; each loosening is told."""
    with Board(Console(quiet=True), run) as board:
        played(run, board, 6, 3)
    count = run.count()
    proven(count)
    assert (count.outages, count.rotated, count.drifted, count.loosened) == (3, 8, 1, 1)
    assert run.office.counted() == {"active": 8}
    assert count.accepted >= 8 * 5


def test_a_run_that_lost_a_reading_does_not_pass(run: Run):
    """The known-bad twin: a collector that forgets what it opened is found out."""
    with Board(Console(quiet=True), run) as board:
        played(run, board, 1, 0)
    count = run.count()
    with pytest.raises(Failed, match="was lost"):
        proven(count._replace(received=count.received - 1))
    with pytest.raises(Failed, match="factory password"):
        proven(count._replace(rotated=7))
    with pytest.raises(Failed, match="did not take the policy"):
        proven(count._replace(taken=7))


def test_the_demo_stops_when_a_scene_does_not_happen(tmp_path: Path):
    """The known-bad twin: with a profile that allows passwords over SSH, nobody is warned, and the demo says so."""
    loose = tmp_path / "base.toml"
    line = '[settings]\n"ssh.password" = { value = "yes", reason = "A test." }\n'
    loose.write_text(BASE.read_text().replace("[[purpose]]", line + "\n[[purpose]]", 1))
    demo = Demo(tmp_path / "d", loose)
    reached: list[str] = []
    try:
        with pytest.raises(Failed, match=r"SSH|warning"):
            reached.extend(scene.name for scene in demo.scenes())
    finally:
        demo.close()
    assert "revert" not in reached
