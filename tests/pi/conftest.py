"""Fixtures of the tier: the transcript, the one Pi whose life the tests tell in order, a Pi that has lived."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.pi import arm, kept
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


@pytest.fixture(scope="session")
def kept_at(tree: Path, deb: Path) -> Path:
    """Give the place of the card that is kept for this package."""
    return kept.place(tree, deb)


@pytest.fixture
def lived(tmp_path: Path, kept_at: Path, tree: Path, deb: Path, say: Callable[[str], None]) -> Iterator[Story]:
    """Give a Pi that is off after its first boot, its password and recovery code known; one is made if none is kept."""
    if not kept_at.exists():
        grown(tmp_path / "first", tree, deb, kept_at, say)
    (tmp_path / "again").mkdir()
    story = kept.lived(kept_at, tmp_path / "again", say)
    try:
        yield story
    finally:
        story.close()


def grown(folder: Path, tree: Path, deb: Path, where: Path, say: Callable[[str], None]) -> None:
    """Make a card and let it live through its first boot and its enrolment."""
    folder.mkdir()
    story = Story(folder, say)
    try:
        story.make(tree, deb)
        story.power()
        story.up("first start")
        story.active()
        with story.board.keyboard() as keyboard:
            story.password = story.new_password(keyboard)
        story.linked()
        story.switch_off()
        kept.keep(story, where)
    finally:
        story.close()
