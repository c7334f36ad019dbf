"""`privet-fleet targets`, `flash`, `inject`, `card`, `wipe`, as people and programs use them, on files."""

import json
import lzma
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provisioning.card.targets.file import FileTarget
from provisioning.card.worker import Worker
from provisioning.cli.main import cli
from tests.card import rig


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a small image."""
    return rig.small_image(tmp_path_factory.mktemp("image") / "small.img")


def ask(*words: str | Path) -> Result:
    """Run the command."""
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_an_image_becomes_a_card_in_a_file(image: Path, tmp_path: Path):
    """--to writes what a card of that size would hold, packed or not; a file that is there is not overwritten."""
    (tmp_path / "small.img.xz").write_bytes(lzma.compress(image.read_bytes(), preset=0))
    to = tmp_path / "card.img"
    done = ask("flash", tmp_path / "small.img.xz", "--to", to, "--size", "4M", "--plain", "--json")
    assert done.exit_code == 0, done.output
    event, result = (json.loads(line) for line in done.stdout.splitlines())
    assert event["event"] == "done" and result["cards"][0]["stages"]["read back"] >= 0
    assert to.read_bytes() == image.read_bytes() + bytes((4 << 20) - image.stat().st_size)
    again = ask("flash", image, "--to", to, "--plain")
    assert again.exit_code == 77 and "exists" in again.stderr and again.stderr.count("\n") == 1
    assert to.read_bytes()[: 3 << 20] == image.read_bytes()


def test_what_no_device_starts_from_is_not_written(image: Path, tmp_path: Path):
    """Garbage, what was cut off, a pipe, a card smaller than the image or larger than a file: told, nothing left."""
    (tmp_path / "garbage.img").write_bytes(b"<html>not found</html>".ljust(2 << 20, b" "))
    (tmp_path / "cut.img").write_bytes(image.read_bytes()[: 2 << 20])
    os.mkfifo(tmp_path / "pipe.img")
    for name, words, code, told in (
        ("garbage.img", (), 65, "no table of partitions"),
        ("cut.img", (), 65, "before its partition 1 does"),
        ("pipe.img", (), 65, "is a pipe or a device"),
        (image, ("--size", "1M"), 77, "give a larger one"),
        (image, ("--size", "9000000T"), 74, "cannot be made that large"),
    ):
        done = ask("flash", tmp_path / name, "--to", tmp_path / "card.img", "--plain", *words)
        assert (done.exit_code, done.stderr.count("\n")) == (code, 1) and told in done.stderr, done.stderr
        assert not (tmp_path / "card.img").exists()


def test_a_name_cannot_turn_the_line_around(image: Path, tmp_path: Path):
    """A file's name is shown without what changes how text is read."""
    done = ask("flash", image, "--to", tmp_path / "c\u202egmi.exe", "--plain")
    assert done.exit_code == 0 and "\u202e" not in done.output and "gmi.exe" in done.stdout


def test_an_image_that_nobody_vouches_for_is_not_written(image: Path, tmp_path: Path):
    """Without a manifest a person has to say --plain; a batch cannot be had that way."""
    for words in ((), ("--batch", tmp_path, "--plain")):
        done = ask("flash", image, "--to", tmp_path / "card.img", *words)
        assert done.exit_code == 77 and "manifest" in done.stderr
    assert not (tmp_path / "card.img").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sdb", "--to", "x"), "one of the three"), (("--station",), "--port"), (("--port", "1-4", "sdb"), "--station"),
        (("--station", "--port", "1-4", "--no-read-back"), "reads every card back"), (("sdb", "--size", "4G"), "--to"),
        ((), "no disk was named"), (("no-such-disk",), "there is no disk"), (("sdb", "--waive", "sdb"), "no waiver"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(words: tuple[str, ...], told: str, image: Path):
    """Each with one sentence, before anything is opened."""
    done = ask("flash", image, "--plain", *words)
    assert done.exit_code in {65, 66, 77} and told in done.stderr and done.stderr.count("\n") == 1


def test_a_rehearsal_writes_nothing(image: Path, tmp_path: Path):
    """--dry-run says what would be written."""
    done = ask("flash", image, "--to", tmp_path / "x.img", "--plain", "--dry-run", "--json")
    told = json.loads(done.stdout)
    assert (told["size"], told["dry_run"]) == (rig.SMALL_IMAGE, True) and 0 < told["to_write"] < told["size"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_size_is_wrong_usage(image: Path):
    """A size is a number with K, M, G or T."""
    for text in ("4X", "G", "-4G", "4.5G", "1" * 20):
        assert ask("flash", image, "--to", "x", "--size", text, "--plain").exit_code == 2


def test_every_disk_of_this_machine_has_a_verdict():
    """`targets` lists what is here, whoever asks; what it refuses it gives a reason for."""
    told = json.loads(ask("targets", "--all", "--json").stdout)["disks"]
    for disk in told:
        assert disk["accepted"] == (not disk["reasons"])
    assert ask("targets").exit_code == 0


def test_a_card_in_a_file_tells_of_itself_and_is_wiped(image: Path, tmp_path: Path):
    """`card` reads, `wipe --dry-run` does nothing, `wipe` leaves nothing; `inject` needs a slot."""
    copy = tmp_path / "card.img"
    copy.write_bytes(image.read_bytes())
    told = json.loads(ask("card", copy, "--json").stdout)
    assert (told["state"], told["slot"]) == ("no slot", None)
    refused = ask("wipe", copy)
    assert refused.exit_code == 30 and "one partition" in refused.stderr
    waiver = ("--waive", f"card.img={rig.SMALL_IMAGE}")
    assert ask("inject", copy, "--batch", tmp_path, *waiver).exit_code == 66
    assert ask("wipe", copy, "--dry-run", *waiver).exit_code == 0
    assert copy.read_bytes() == image.read_bytes()
    assert "is wiped" in ask("wipe", copy, *waiver).stdout
    assert copy.read_bytes() == bytes(rig.SMALL_IMAGE)
    assert "nothing" in ask("card", copy).stdout
    assert ask("wipe", tmp_path).exit_code == 30


def test_whatever_goes_wrong_a_card_is_not_called_done(image: Path):
    """An error that nobody thought of fails the card, with a sentence."""

    def opens() -> FileTarget:
        raise ValueError("nobody thought of this")

    base = rig.base(image, None)
    worker = Worker("sdx", "", opens, base, None, threading.Event())
    worker.start()
    worker.join(60)
    facts = worker.facts()
    assert (facts["state"], facts["code"]) == ("failed", 70) and "ValueError" in facts["error"]
    base.close()
