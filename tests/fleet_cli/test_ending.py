"""However a command is cut off, it ends in one sentence at most and with an exit code of its own, never a traceback."""

import io
import os
import stat
import subprocess
import sys
from contextlib import redirect_stdout

import pytest

from agent.cli import ending
from tests.fleet_cli.test_verbs import House, with_both

ASKED = (("provisioning.cli", "profile", "explain", "base"), ("provisioning.cli", "profile", "schema"))
EVERY = (*ASKED, ("provisioning.cli", "--help"), ("agent", "--help"), ("agent", "loosen", "--help"))


def ran(words, **how):
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *words], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, **how
    )


@pytest.mark.parametrize("words", EVERY)
def test_a_full_disk_behind_the_output(words):
    """What was asked for could not be written: that is said, and the exit code is that of an unwritable file."""
    with open("/dev/full", "wb") as full:
        made = ran(words, stdout=full)
    assert made.returncode == 74
    assert made.stderr.decode().count("\n") == 1 and "cannot be written (No space left" in made.stderr.decode()


@pytest.mark.parametrize("words", ASKED)
def test_a_reader_that_goes_away(words):
    """`| head` is no error of anybody: silence, and the code that a shell gives to a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        made = ran(words, stdout=writing)
    finally:
        os.close(writing)
    assert (made.returncode, made.stderr) == (141, b"")


@pytest.mark.parametrize("words", EVERY)
def test_begun_without_an_output(words):
    """Begun with its output closed, a command does its work all the same."""
    made = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", *words], capture_output=True, check=False
    )
    assert (made.returncode, made.stderr) == (0, b"")


def test_somebody_stops_it(capsys):
    """Ctrl-C ends with one word and 130; what is no interruption passes through."""

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as over:
        ending.ended("privet", stopped)
    assert over.value.code == 130 and capsys.readouterr().err == "privet: stopped\n"
    assert ending.ended("privet", lambda: 7) == 7


def test_a_terminal_that_knows_no_such_letter():
    """Where the session's letters are Latin-1, another stands in place of what it has not; nothing breaks."""
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="latin-1")) as latin:
        ending.ended("privet", lambda: print("✓ 21 °C …"))
    assert latin.buffer.getvalue() == b"? 21 \xb0C ?\n"


def test_a_device_or_a_link_is_not_replaced(tmp_path):
    """-o /dev/full or /dev/stdout would put a file where the system has a device or a link: it is refused."""
    house = House(tmp_path)
    house.told("init", "--fleet", str(house.fleet), "--no-passphrase", "--broker", "broker.example")
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "other")
    for path in (pipe, link):
        code, out, err = house.ask("profile", "compile", "base", *with_both(house), "-o", str(path))
        assert (code, out) == (77, "") and f"{path} is there and is no file" in err
    assert stat.S_ISFIFO(pipe.lstat().st_mode) and link.is_symlink()
    assert house.told("profile", "compile", "base", *with_both(house), "-o", str(tmp_path / "new.cbor"))["ok"]


def test_a_directory_without_profiles_is_no_clean_bill(tmp_path):
    """Nothing was checked, so nothing is said to be right: a wrong directory in a script is noticed."""
    house = House(tmp_path)
    code, out, err = house.ask("profile", "check", "--profiles", str(tmp_path))
    assert (code, out) == (66, "") and f"there is no profile (*.toml) in {tmp_path}" in err
    assert house.ask("profile", "check", "--profiles", str(house.profiles))[0] == 0


@pytest.mark.parametrize("place", ["x y", "http://enrol.example", "a:b", "a:0", "ä.example", "x" * 254])
def test_where_devices_enrol_is_checked_before_it_is_kept(tmp_path, place):
    """A slip would otherwise stay in the fleet: seeds that no device takes, and a server without a name."""
    house = House(tmp_path)
    house.told("init", "--fleet", str(house.fleet), "--no-passphrase", "--broker", "broker.example")
    before = (house.fleet / "fleet.json").read_bytes()
    code, _, err = house.ask("batch", "create", "--count", "1", *with_both(house), "--enrol", place)
    assert (code, "is no host and port" in err) == (65, True)
    assert (house.fleet / "fleet.json").read_bytes() == before
    code, _, err = house.ask("init", "--fleet", str(tmp_path / "new"), "--no-passphrase", "--broker", place)
    assert (code, "is no host and port" in err, (tmp_path / "new").exists()) == (65, True, False)
