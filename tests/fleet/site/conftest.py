"""What tests of real cards ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.site.lab import fleet_with_image
from tests.fleet.site.loops import Loops, loops
from tests.fleet.site.postgres import Postgres


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a fleet, and an image with its manifest."""
    return fleet_with_image(tmp_path_factory.mktemp("cards"))


@pytest.fixture
def readers() -> Iterator[Loops]:
    """Give loop devices."""
    with loops() as given:
        yield given


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Give a running server, which says yes before it has written."""
    with Postgres() as made:
        yield made


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    """Give a running server that writes before it says yes."""
    with Postgres(durable=True) as made:
        yield made
