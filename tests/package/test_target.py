"""The machines the package is built for: what is fetched for each, and what Debian lends."""

import re
from pathlib import Path

import pytest

from agent.core.errors import BadInput, Failed
from provisioning.package import target, words
from tests.house import ROOT


def test_what_debian_lends_is_left_out(tmp_path: Path):
    """For armhf cffi and pycparser are not fetched, everything else is, with its hashes; others leave nothing out."""
    text = (ROOT / "requirements/device.txt").read_text()
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    for one in target.TARGETS.values():
        left = target.wanted(text, one)
        assert re.findall(r"^([a-z0-9-]+)==", left, re.MULTILINE) == [name for name in names if name not in one.lent]
        assert all(f"--hash={part}" in text for part in re.findall(r"--hash=(\S+)", left))
    assert target.wanted(text, target.TARGETS["amd64"]).count("--hash=") == text.count("--hash=")


def test_armhf_reaches_one_module_of_debian_and_no_more(tmp_path: Path):
    """The one link names the extension module that python3-cffi-backend brings; the folder itself is on no path."""
    target.lend(tmp_path, target.TARGETS["armhf"])
    (link,) = tmp_path.iterdir()
    assert str(link.readlink()) == "../python3/dist-packages/_cffi_backend.cpython-311-arm-linux-gnueabihf.so"
    target.lend(tmp_path, target.TARGETS["arm64"])
    assert list(tmp_path.iterdir()) == [link]


def test_an_unknown_machine_is_refused():
    """The sentence names those there are."""
    with pytest.raises(BadInput, match="amd64, arm64, armhf"):
        target.named("armel")


def test_a_wheel_without_a_licence_is_refused(tmp_path: Path):
    """Nothing is shipped whose terms are unknown."""
    (tmp_path / "nobody-1.0.dist-info").mkdir()
    with pytest.raises(Failed, match="no licence"):
        words.copyright_of(tmp_path)
