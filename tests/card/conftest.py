"""Where small cards lie: in memory where there is such a place, for each of them is synced a hundred times."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.card.base import Base
from provisioning.card.targets.file import FileTarget
from tests.card import rig

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give a directory in memory."""
    around = MEMORY if MEMORY.is_dir() else tmp_path_factory.getbasetemp()
    with tempfile.TemporaryDirectory(prefix="privet-cards-", dir=around) as name:
        yield Path(name)


@pytest.fixture
def place(memory: Path) -> Iterator[Path]:
    """Give a directory in memory for one test."""
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def image(memory: Path) -> Path:
    """Give an image for all tests."""
    return rig.image(memory / "base.img")


@pytest.fixture(scope="session")
def base(image: Path) -> Iterator[Base]:
    """Give it opened."""
    with rig.base(image) as opened:
        yield opened


@pytest.fixture(scope="session")
def small_image(memory: Path) -> Path:
    """Give a smaller image."""
    return rig.small_image(memory / "small.img")


@pytest.fixture(scope="session")
def small(small_image: Path) -> Iterator[Base]:
    """Give it opened."""
    with rig.base(small_image, rig.SMALL_SLOT) as opened:
        yield opened


@pytest.fixture
def card(place: Path) -> Iterator[FileTarget]:
    """Give a card that somebody used before."""
    target = FileTarget(rig.used_card(place / "card"), 0, create=False)
    yield target
    target.close()
