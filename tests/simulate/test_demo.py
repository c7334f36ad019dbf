"""The demo shows what truly happened, inside its own directory, and leaves nothing running."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from provisioning.cli.demo import SHOWN, plain, show
from provisioning.simulate.demo import Scene
from tests.house import ROOT


class Played:
    """A demo that was played by the command, and what it left."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.directory = folder / "demo"
        words = [sys.executable, "-m", "provisioning.cli", "demo", "--json", "--keep"]
        words += ["--directory", str(self.directory)]
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        outside = {"HOME": str(self.home), "TMPDIR": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env={**kept, **outside}, check=False)
        self.code, self.errors = result.returncode, result.stderr
        self.answer: dict[str, Any] = json.loads(result.stdout)

    def scene(self, name: str) -> dict[str, Any]:
        """Return what a scene showed."""
        return dict(next(one for one in self.answer["scenes"] if one["scene"] == name))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Play it once; the directory's name is short because sockets lie below it."""
    return Played(tmp_path_factory.mktemp("d"))


def test_every_scene_happens_in_under_a_minute(played: Played):
    """Exit code 0, nothing on the error output, the scenes in their order."""
    assert (played.code, played.errors, played.answer["ok"]) == (0, "", True)
    assert [one["scene"] for one in played.answer["scenes"]] == list(SHOWN)
    assert played.answer["seconds"] < 60


def test_it_begins_open_and_ends_private(played: Played):
    """Most settings were open, all are private; the known password worked and is refused."""
    assert played.scene("factory")["opens"]
    settings = played.scene("boot")["settings"]
    assert sum(row["was_open"] for row in settings) >= 14
    assert played.scene("credentials")["old_opens"] is False
    assert played.scene("journal")["status"].startswith("Private: all")


def test_the_broker_sees_no_reading_and_the_recipient_does(played: Played):
    """The bytes at the broker hold neither name nor unit; the value arrives at the declared precision."""
    shown = played.scene("telemetry")
    assert b"temperature" not in bytes.fromhex(shown["broker_sees"])
    assert shown["recipient_sees"]["value"] == "21.5"
    assert [one["exit"] for one in shown["commands"]] == [16, 0, 0]
    assert "certificate required" in played.scene("fleet")["stranger"]


def test_the_warning_comes_within_two_seconds(played: Played):
    """Measured from the hand edit."""
    shown = played.scene("drift")
    assert 0 < shown["seconds"] < 2
    assert "Signing in over SSH with a password: now yes, should be no" in shown["warning"]


def test_the_owner_reads_the_risk_before_anything_happens(played: Played):
    """Also when the answer is no; and the leave ends after its time."""
    shown = played.scene("loosen")
    assert all(shown["risk"] in re.sub(r"\s+", " ", one["output"]) for one in shown["commands"])
    assert "Nothing was changed" in shown["commands"][0]["output"]
    countdown = played.scene("revert")["countdown"]
    assert countdown[0] > 50
    assert countdown[-1] == 0


def test_nothing_is_changed_outside_its_directory(played: Played):
    """Neither home nor temporary directory, though both were there to be used."""
    assert list(played.home.iterdir()) == []
    assert (played.directory / "fleet" / "fleet.json").is_file()


def test_nothing_is_left_running(played: Played):
    """Nobody answers at the broker's port any more."""
    host, _, port = played.scene("fleet")["broker"].partition(":")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=1).close()


@pytest.mark.parametrize("width", [40, 80, 160])
def test_it_reads_well_without_a_terminal(played: Played, width: int):
    """No colours, no letters lost, at any width."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False)
    for number, one in enumerate(played.answer["scenes"], 1):
        show(console, number, Scene(one["scene"], "A title", one, one["took"]))
    text = re.sub(r"[\s│]+", " ", stream.getvalue())
    assert "\x1b" not in text
    assert "What the recipient sees" in text
    assert "copying a backup" in text


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path):
    """The demo never mixes with what is there."""
    (tmp_path / "mine").write_text("precious")
    words = [sys.executable, "-m", "provisioning.cli", "demo", "--directory", str(tmp_path)]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (result.returncode, "is not empty" in result.stderr) == (77, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_is_no_connection_is_not_called_one():
    """Twenty old protocols of the kernel are kinds; nine flows of the firewall are connections."""
    assert plain("appletalk, ax25, can, dccp, rds", "open") == "5 kinds"
    assert plain("tcp/53@lan, tcp/80@any, udp/53@lan, udp/67@lan, udp/123@any", "open") == "5 declared connections"
    assert (plain("a, b", "open"), plain("1", "private")) == ("a, b", "private (1)")
