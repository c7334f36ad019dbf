"""The collector's store in a real PostgreSQL: everything that holds for a file holds there."""

from collections.abc import Iterator

import pytest

from agent.core.errors import Refused, Unreachable
from provisioning.collector.store import PACK, Store
from tests.collector.conftest import make  # noqa: F401 - a fixture
from tests.collector.device import HOME, Make, Sender, values
from tests.collector.test_receive import *  # noqa: F403 - the same tests, on another database
from tests.collector.test_refuse import *  # noqa: F403
from tests.collector.test_retention import *  # noqa: F403
from tests.collector.test_store import *  # type: ignore[assignment]  # noqa: F403
from tests.collector.test_store import AT, keep
from tests.fleet.site.postgres import Postgres

for name in (
    "test_the_store_shows_nothing_and_is_closed_to_others",  # there is no file here
    "test_a_full_disk_acknowledges_nothing",
    "test_a_store_of_before_is_opened",
    "test_the_file_is_written_before_it_says_yes",
    "test_what_cannot_be_a_store_is_said",
    "test_a_store_that_is_busy_for_too_long",
    "test_known_answers_open",  # asks no store
    "test_odd_contents_are_refused",
    "test_no_content_makes_the_reader_fail",
    "test_a_record_with_the_nonce_of_another_is_refused",
):
    del globals()[name]


@pytest.fixture  # type: ignore[no-redef]
def place(durable: Postgres) -> str:
    """Give an empty database."""
    return durable.fresh()


@pytest.fixture(scope="module")  # type: ignore[no-redef]
def shared(durable: Postgres) -> Iterator[Store]:
    """Give one store for all examples of a law."""
    store = Store(durable.fresh())
    yield store
    store.close()


def test_a_lost_database_is_found_again(make: Make, durable: Postgres):  # noqa: F811
    """What was being received when the sessions ended is not acknowledged; given again, all of it is there once."""
    sender, collector = Sender([HOME]), make()
    messages = [sender.epoch(), sender.send(1), sender.send(2)]
    assert sender.released(collector.receive(messages[:2])) == 2
    durable.crash()
    with pytest.raises(Unreachable, match="tried again"):
        collector.receive(messages[2:])
    assert sender.released(collector.receive(messages[2:])) == 3
    assert len(values(collector)) == 2


def test_a_database_lost_while_it_is_asked_for_a_key(make: Make, durable: Postgres):  # noqa: F811
    """A collector that has yet to look for the key of what came says the same, and goes on."""
    sender, first = Sender([HOME]), make()
    first.receive([sender.epoch()])
    collector = make()
    list(collector.readings())
    durable.crash()
    record = sender.send(1)
    with pytest.raises(Unreachable, match="tried again"):
        collector.receive([record])
    assert sender.released(collector.receive([record])) == 2


def test_half_a_transaction_is_never_on_another_connection(durable: Postgres):
    """When the session ends in the middle, nothing of it is kept, not even what was asked for after that."""
    store = Store(durable.fresh())

    def broken() -> None:
        with store.transaction():
            store.add(AT, 1, 1, PACK, 0, b"1")
            durable.crash()
            with pytest.raises(store.base.errors):
                store.add(AT, 2, 1, PACK, 0, b"2")
            store.add(AT, 3, 1, PACK, 0, b"3")

    with pytest.raises(Unreachable, match="went away"):
        broken()
    assert list(store.records(kind=None)) == []
    keep(store, 1)
    store.close()


def test_it_is_written_before_it_says_yes(durable: Postgres):
    """A role that was told to be quick is told otherwise for our session."""
    url = durable.fresh()
    durable.told("alter role current_user set synchronous_commit = off")
    store = Store(url)
    assert store.base.link.execute("SHOW synchronous_commit").fetchone()[0] == "on"
    durable.told("alter role current_user reset synchronous_commit")
    store.close()


def test_a_database_that_never_writes_in_time_is_refused():
    """With fsync off a power cut takes what was acknowledged: the sentence says so."""
    with Postgres() as hasty, pytest.raises(Refused, match="fsync is off"):
        Store(hasty.fresh())


def test_one_writer_at_a_time_and_readers_go_on(durable: Postgres):
    """Who comes second waits, and fails with a sentence when that takes too long; readers never wait."""
    url = durable.fresh()
    one, other = Store(url), Store(url)
    keep(one, 1)
    other.base.link.execute("SET lock_timeout = 50")
    with one.transaction():
        one.add(AT, 2, 1, PACK, 0, b"2")
        assert other.body(AT, 1) == b"1"
        with pytest.raises(Exception, match="lock timeout"), other.transaction():
            pass
    assert other.body(AT, 2) == b"2"
    one.close()
    other.close()
