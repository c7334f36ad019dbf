"""What tests of real cards ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.site.lab import fleet_with_image
from tests.fleet.site.loops import Loops, loops


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a fleet, and an image with its manifest."""
    return fleet_with_image(tmp_path_factory.mktemp("cards"))


@pytest.fixture
def readers() -> Iterator[Loops]:
    """Give loop devices."""
    with loops() as given:
        yield given
