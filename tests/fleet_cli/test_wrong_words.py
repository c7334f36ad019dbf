"""What operators type wrongly, or paste from strangers: one sentence, an exit code, nothing half done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioning.cli.main import MOST_SAID, cli
from tests.fleet_cli.test_devices import Desk

HIDES = "d-\u202egnp"


@pytest.fixture
def house(tmp_path: Path) -> Desk:
    """Give a fleet."""
    return Desk(tmp_path)


@pytest.mark.parametrize("words", [HIDES, "", "  ", "a\nb", "\x1b[2J", "x" * 501], ids=range(6))
def test_a_reason_is_a_few_words(house: Desk, words: str):
    """Nothing that hides, scrolls away or fills the ledger gets into it; what is refused changes nothing."""
    (one,) = house.told("batch", "create", "--count", "1", "--enrol", "127.0.0.1")["devices"]
    for wrong in (("--why", words), ("--why", "lost", "--by", words)):
        told = house.told("devices", "quarantine", one, *wrong)
        assert (told["code"], "say it in a few words" in told["error"]) == (65, True)
    assert house.told("devices", "show", one)["state"] == "planned"


def test_a_sentence_shows_what_was_typed_and_hides_nothing(house: Desk):
    """An error repeats no letter that turns the line around, and no more of a huge file than a person reads."""
    result = CliRunner().invoke(cli, ["profile", "explain", HIDES])
    assert result.exit_code == 66 and "d-?gnp" in result.stderr and "\u202e" not in result.stderr
    names = house.folder / "names.txt"
    names.write_bytes(b"a" * 5_000_000)
    told = house.told("policy", "push", "base", "--devices", str(names), "--broker", "127.0.0.1:1")
    assert told["code"] == 65 and len(told["error"]) < MOST_SAID


@pytest.mark.parametrize("place", ["a..b", "a..b:1", ".", f"{'a' * 64}.example"])
def test_a_host_that_cannot_be_is_refused_where_it_is_typed(house: Desk, place: str):
    """No seed and no push begins with it: a device could never reach it."""
    for words in (
        ("batch", "create", "--count", "1", "--enrol", place),
        ("policy", "push", "base", "--device", "d-1", "--broker", place),
    ):
        told = house.told(*words)
        assert (told["code"], "is no host and port" in told["error"]) == (65, True), told
    assert house.told("devices", "list")["devices"] == []


def test_a_server_has_a_name(house: Desk):
    """An empty one is told as what it is."""
    told = house.told("serve", "--name", "")
    assert (told["code"], "neither a host name nor an address" in told["error"]) == (65, True)


@pytest.mark.parametrize("verb", [("devices", "retire", "{one}", "--receipt"), ("broker", "revoke")], ids=["0", "1"])
def test_a_file_without_an_end_is_read_in_part(house: Desk, verb: tuple[str, ...]):
    """What never ends is no receipt and no certificate; it is told at once, in a process with little memory."""
    (one,) = house.told("batch", "create", "--count", "1", "--enrol", "127.0.0.1")["devices"]
    words = [word.format(one=one) for word in verb]
    whole = ["prlimit", "--as=1500000000", "--", sys.executable, "-m", "provisioning.cli", *words, "/dev/zero"]
    done = subprocess.run(
        [*whole, "--json", "--fleet", str(house.fleet)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["ok"]) == (65, False), done.stderr
