"""What `privet status` says while first boot works, and when it could not be finished."""

from pathlib import Path

from click.testing import CliRunner

from agent.cli import show
from agent.cli.main import main


def test_status_while_first_boot_works(tmp_path: Path):
    """The guard does not answer yet: the sentence of the phase is shown, with a code that says to ask again."""
    (tmp_path / "first_boot").write_text("Nothing can reach this device yet. Replacing its name (4 of 5).\n")
    told = CliRunner().invoke(main, ["status"], env={"PRIVET_RUN": str(tmp_path)})
    assert told.exit_code == 75 and "Replacing its name (4 of 5)." in told.output
    told = CliRunner().invoke(main, ["status", "--json"], env={"PRIVET_RUN": str(tmp_path)})
    assert told.exit_code == 75 and '"first_boot"' in told.output


def test_status_of_a_device_that_is_shut_in(capsys):
    """The guard runs and first boot failed: that is the first thing it says."""
    link = {"state": "offline", "cause": ""}
    show.status({"findings": [], "waivers": [], "warnings": [], "age": 1, "now": 2, "link": link, "shut_in": True})
    assert capsys.readouterr().out.startswith("Nothing can reach this device from outside")
