"""Readers in a real PostgreSQL: the database itself keeps them to their purposes, seen by connecting as they do."""

from collections.abc import Iterator

import pytest

from agent.core.errors import Failed, Missing, Refused
from provisioning.collector import readers
from provisioning.collector.receive import Collector
from provisioning.collector.store import PACK, Store
from tests.collector.conftest import make  # noqa: F401 - a fixture
from tests.collector.device import KEY, Make
from tests.collector.test_readers import *  # noqa: F403 - the same tests, on another database
from tests.collector.test_readers import filled
from tests.collector.test_store import AT
from tests.fleet.site.postgres import Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """Give a running server that has the readers' roles."""
    with Postgres(durable=True) as made:
        made.told("create role ada login", "create role bob login")
        yield made


@pytest.fixture  # type: ignore[no-redef]
def place(postgres: Postgres) -> str:
    """Give an empty database."""
    return postgres.fresh()


@pytest.fixture
def ada(make: Make, place: str) -> Iterator[Store]:  # noqa: F811
    """Give the store as the reader ada sees it, who may read energy alone."""
    list(filled(make))
    readers.give(make().store, "ada", "energy", 100)
    readers.give(make().store, "bob", "comfort", 100)
    user, _, rest = place.removeprefix("postgresql://").partition("@")
    assert user != "ada"
    store = Store(f"postgresql://ada@{rest}")
    yield store
    store.close()


def test_the_database_shows_a_reader_their_purposes_alone(ada: Store):
    """Neither records nor keys of another purpose come out, whatever is asked; the own ones open."""
    assert readers.caller(ada) == "ada"
    with pytest.raises(Refused, match="knows you as ada"):
        readers.caller(ada, "bob")
    assert {one.place.purpose for one in ada.records(kind=None)} == {"energy"}
    assert ada.base.link.execute("SELECT count(*) FROM epoch").fetchone()[0] == 1
    assert ada.base.link.execute("SELECT purpose FROM stream").fetchall() == [("energy",)]
    assert [grant.name for grant in readers.grants(ada)] == ["ada"]
    collector = Collector("meadow", "home", KEY, ada, print)
    collector.allowed = lambda: readers.allowed(ada, readers.caller(ada))
    assert [one.place.purpose for one in collector.readings()] == ["energy"]


def test_a_reader_changes_nothing(ada: Store):
    """No record, no grant of their own, no line of the journal; and no line in another's name."""
    for line in (
        "UPDATE record SET body = ''",
        "DELETE FROM record",
        "INSERT INTO reader VALUES ('ada', 'comfort', 9999999999)",
        "UPDATE reader SET review_by = 9999999999",
        "DELETE FROM seen",
        "INSERT INTO seen (at, name, act, purposes, first, last) VALUES (1, 'bob', 'export', '*', 1, 1)",
        "ALTER TABLE record DISABLE ROW LEVEL SECURITY",
    ):
        with pytest.raises(ada.base.errors, match=r"permission denied|row-level security|must be owner"):
            ada.base.link.execute(line)
    with pytest.raises(Failed, match="permission denied"), ada.transaction():
        ada.add(AT, 1, 1, PACK, 0, b"made up")
    readers.note(ada, "ada", "export", frozenset({"energy"}), 0)
    assert [note.name for note in readers.notes(ada)] == ["ada"]


def test_a_withdrawn_or_overdue_reader_sees_nothing(ada: Store, make: Make):  # noqa: F811
    """The database itself has no row for them from then on, and the command refuses."""
    owner = make().store
    owner.base.link.execute("UPDATE reader SET review_by = 1700000000 WHERE name = 'ada'")
    assert list(ada.records(kind=None)) == []
    with pytest.raises(Refused, match="was due"):
        readers.allowed(ada, "ada")
    readers.take(owner, "ada")
    assert list(ada.records(kind=None)) == []
    with pytest.raises(Refused, match="may not read"):
        readers.allowed(ada, "ada")


def test_a_role_that_is_not_there_is_named(make: Make):  # noqa: F811
    """Roles are made by the database's owner, not by us: the sentence says how."""
    with pytest.raises(Missing, match="CREATE ROLE carl LOGIN"):
        readers.give(make().store, "carl", "energy", 10)
