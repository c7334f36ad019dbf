"""Fixtures of the tier: the transcript, and the one Pi whose life the tests tell in order."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.pi import arm
from tests.pi.factory import deb_for
from tests.pi.story import Story

NEEDED = (
    "mmdebstrap",
    "qemu-system-aarch64",
    "mkfs.vfat",
    "mcopy",
    "mke2fs",
    "modprobe",
    "cpio",
    "mosquitto",
)
TRANSCRIPT = ROOT / ".cache" / "test-pi-transcript.txt"


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Give the narrator: a line with its time, on the terminal at once and in the transcript."""
    begun = time.monotonic()
    capture = request.config.pluginmanager.getplugin("capturemanager")
    TRANSCRIPT.parent.mkdir(exist_ok=True)
    TRANSCRIPT.write_text("", encoding="utf-8")

    def tell(sentence: str) -> None:
        line = f"[{time.strftime('%H:%M:%S')} +{time.monotonic() - begun:6.1f} s] {sentence}"
        with TRANSCRIPT.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    return tell


@pytest.fixture(scope="session")
def needs() -> None:
    """Fail, and say which, when something this tier stands on is not there."""
    assert os.geteuid() == 0, "this tier needs root: it makes Debian trees and lays one over the other"
    missing = [
        program for program in NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    ]
    assert not missing, f"this tier needs {', '.join(missing)}; `make test-pi` installs them"


@pytest.fixture(scope="session")
def tree(needs: None, say: Callable[[str], None]) -> Path:
    """Give the arm64 tree."""
    made = arm.built("arm64")
    say(f"tree: Debian for arm64 in {made.name}")
    return made


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str], None]) -> Path:
    """Give the arm64 package of this checkout."""
    made = deb_for("arm64", tmp_path_factory.mktemp("deb"))
    say(f"package: {made.name}, {made.stat().st_size} bytes")
    return made


@pytest.fixture(scope="session")
def pi(tmp_path_factory: pytest.TempPathFactory, tree: Path, deb: Path, say: Callable[[str], None]) -> Iterator[Story]:
    """Give the one Pi: its card is made, and it is switched on."""
    story = Story(tmp_path_factory.mktemp("pi"), say)
    begun = time.monotonic()
    try:
        story.make(tree, deb)
        say(f"card: {story.card.image.stat().st_blocks // 2048} MB used, made in {time.monotonic() - begun:.0f} s")
        story.power()
        say("power on")
        yield story
    finally:
        story.close()
