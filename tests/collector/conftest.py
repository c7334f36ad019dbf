"""One collector over one store, opened as often as a test likes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.collector.device import KEY, Make


@pytest.fixture
def place(tmp_path: Path) -> Path | str:
    """Give where the store is: a path, or a URL where other tests say so."""
    return tmp_path / "store" / "telemetry.db"


@pytest.fixture
def make(place: Path | str) -> Iterator[Make]:
    """Give a way to (re)open one collector over one store; what it says is in `said` of each."""
    opened: list[Store] = []

    def collector() -> Collector:
        for store in opened:
            store.close()
        opened.append(Store(place))
        said: list[str] = []
        made = Collector("meadow", "home", KEY, opened[-1], said.append)
        made.said = said  # type: ignore[attr-defined]
        return made

    yield collector
    for store in opened:
        store.close()
