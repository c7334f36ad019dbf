"""Where small cards lie: in memory where there is such a place, for each is synced a hundred times; and a bench.

The bench holds one image of a maker, one package and one fleet, for all tests that build images.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioning.card.base import Base
from provisioning.card.build import Request
from provisioning.card.targets.file import FileTarget
from provisioning.fleet.identity import Fleet
from tests.card import making, rig
from tests.card.making import Bench

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


@pytest.fixture(scope="session")
def bench(memory: Path) -> Bench:
    """Make them once."""
    folder = memory / "bench"
    folder.mkdir()
    root = making.tree(folder / "tree")
    fleet = Fleet.create(folder / "fleet", "meadow")
    base = making.image(folder / "base.img", root)
    return Bench(base, making.package(folder), fleet, making.issue(fleet), root)


@pytest.fixture
def asked(bench: Bench, place: Path) -> Callable[..., Request]:
    """Return what makes a request from the bench, with other parts where given."""

    def made(base: Path | None = None, deb: Path | None = None, lines: tuple[str, ...] = ()) -> Request:
        return making.request(base or bench.base, deb or bench.deb, place / "out" / "card.img", bench.issue, lines)

    return made
