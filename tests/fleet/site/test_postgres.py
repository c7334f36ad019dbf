"""The registry on a real PostgreSQL: everything that holds on SQLite holds there, and sessions may be lost."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.crowd import all_at_once, questions
from tests.fleet.enrolling import Office, Served, asked, key
from tests.fleet.site.postgres import Postgres
from tests.fleet.test_desk import *  # noqa: F403 - the same tests, on another database
from tests.fleet.test_registry import *  # noqa: F403

del test_the_file_is_the_owners_alone  # noqa: F821 - there is no file here


@pytest.fixture  # type: ignore[no-redef]
def place(postgres: Postgres) -> str:
    """Give an empty database."""
    return postgres.fresh()


@pytest.fixture  # type: ignore[no-redef]
def office(tmp_path: Path, place: str) -> Iterator[Office]:
    """Give a fleet whose registry is there."""
    made = Office(tmp_path, place)
    assert made.registry.engine.dialect.name == "postgresql"
    yield made
    made.registry.close()


def test_the_server_enrols_from_postgresql(office: Office):
    """The whole way over TLS, with the registry in PostgreSQL."""
    with Served(office) as served:
        one, mine = office.planned()[0], key()
        first = served.enrol(one, mine)
        assert first[0] == 200
        assert served.enrol(one, mine)[2] == first[2]
        assert served.enrol(one, key())[0] == 403
    assert office.state(one.device) == "quarantined"


def test_two_hundred_devices_at_once(office: Office):
    """All of them over TLS, with the registry in PostgreSQL; nothing is lost and the chain is whole."""
    work = questions(office.planned(200))
    with Served(office, life=300.0) as served:
        statuses = asyncio.run(all_at_once(served.port, office.fleet.trust_anchor().decode(), work))
    assert statuses == [200] * 200
    assert office.registry.counted() == {"claimed": 200}
    assert office.registry.verify() == 201


def test_lost_sessions_are_made_anew(office: Office, postgres: Postgres):
    """When the database was restarted, the next act works as if nothing had been."""
    one = office.planned()[0]
    postgres.crash()
    assert office.claim(one, asked(key())).status == 200
    assert office.registry.verify() == 2
