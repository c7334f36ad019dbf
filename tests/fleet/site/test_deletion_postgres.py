"""What owners ask to delete, from a real PostgreSQL: gone from its tables' files, once, and answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import Fleet
from tests.collector import test_deletion as there
from tests.collector.device import KEY
from tests.collector.test_deletion import *  # noqa: F403 - the same tests, on another database
from tests.collector.test_deletion import Owner, meadow, started  # noqa: F401 - a fixture among them
from tests.fleet.site.postgres import Postgres

for name in (
    "test_what_is_asked_for_is_gone_from_the_raw_file",
    "test_twin_deleting_alone_leaves_it_in_the_file",
    "test_power_that_goes_before_the_file_is_clean_is_made_up_for",
    "test_without_the_fleets_root_nothing_is_believed",
):
    del globals()[name]


@pytest.fixture  # type: ignore[no-redef]
def collector(durable: Postgres, meadow: Fleet) -> Iterator[Collector]:  # noqa: F811
    """Give a collector whose store is an empty database."""
    told: list[str] = []
    store = Store(durable.fresh())
    made = Collector("meadow", "home", KEY, store, told.append, meadow.trust_anchor())
    made.said = told  # type: ignore[attr-defined]
    yield made
    store.close()


def tables(folder: Path) -> bytes:
    """Return every byte of the tables' files, without the server's log."""
    return b"".join(path.read_bytes() for path in sorted((folder / "data" / "base").rglob("*")) if path.is_file())


def test_what_is_asked_for_is_gone_from_the_tables_files(collector: Collector, durable: Postgres, meadow: Fleet):  # noqa: F811
    """After a checkpoint on both sides: the search finds what is there, and then nothing of it."""
    sender, messages = started(collector)
    collector.store.plain("CHECKPOINT")
    planted = [payload[-40:] for _, payload in messages]
    assert all(piece in tables(durable._folder) for piece in planted)
    owner = Owner(meadow)
    assert owner.believes(collector.receive([owner.ask(sender, 1)])).deleted == 3
    collector.store.plain("CHECKPOINT")
    assert not [piece for piece in planted if piece in tables(durable._folder)]
    assert there.done(collector.store)
