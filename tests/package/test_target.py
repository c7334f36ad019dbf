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


def test_armhf_reaches_one_module_of_debian_for_each_python_and_no_more(tmp_path: Path):
    """Each link names the extension module that python3-cffi-backend brings; the folder itself is on no path."""
    target.lend(tmp_path, target.TARGETS["armhf"])
    links = sorted(tmp_path.iterdir())
    modules = [f"_cffi_backend.cpython-3{minor}-arm-linux-gnueabihf.so" for minor in (11, 12, 13)]
    assert [str(link.readlink()) for link in links] == [f"../python3/dist-packages/{name}" for name in modules]
    target.lend(tmp_path, target.TARGETS["arm64"])
    assert sorted(tmp_path.iterdir()) == links


def test_one_more_python_brings_extension_modules_and_nothing_else(tmp_path: Path):
    """Its own shared objects are taken beside the first's; any other difference between wheels is refused."""
    first, more = tmp_path / "first", tmp_path / "more"
    for folder, version in ((first, 311), (more, 313)):
        folder.mkdir()
        (folder / f"backend.cpython-{version}.so").write_bytes(b"")
        (folder / "same.py").write_bytes(b"1")
        (folder / "same.dist-info").mkdir()
        (folder / "same.dist-info/WHEEL").write_text(str(version))
    target.join(more, first)
    assert sorted(path.name for path in first.glob("*.so")) == ["backend.cpython-311.so", "backend.cpython-313.so"]
    assert (first / "same.dist-info/WHEEL").read_text() == "311"
    (more / "same.py").write_bytes(b"2")
    with pytest.raises(Failed, match=r"same\.py is not the same"):
        target.join(more, first)


def test_an_unknown_machine_is_refused():
    """The sentence names those there are."""
    with pytest.raises(BadInput, match="amd64, arm64, armhf"):
        target.named("armel")


def test_a_wheel_without_a_licence_is_refused(tmp_path: Path):
    """Nothing is shipped whose terms are unknown."""
    (tmp_path / "nobody-1.0.dist-info").mkdir()
    with pytest.raises(Failed, match="no licence"):
        words.copyright_of(tmp_path)
