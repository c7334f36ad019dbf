"""Who may read which purpose: the same on a file and on PostgreSQL."""

import time
from collections.abc import Iterator

import pytest

from agent.core.errors import BadInput, Refused
from provisioning.collector import readers
from tests.collector.device import HOME, Make, Sender


@pytest.fixture
def name() -> str:
    """Give the name of a reader."""
    return "ada"


@pytest.fixture
def other() -> str:
    """Give the name of another."""
    return "bob"


def filled(make: Make) -> Iterator[str]:
    """Keep a reading of two purposes; return a way to see whose readings come out."""
    collector = make()
    for purpose in ("comfort", "energy"):
        sender = Sender([HOME], purpose=purpose)
        collector.receive([sender.epoch(), sender.send(215)])
    return iter(one.place.purpose for one in collector.readings())


def test_a_store_without_readers_is_its_owners(make: Make, name: str):
    """Nobody was granted anything: the owner reads all, or the purpose that was asked for."""
    assert list(filled(make)) == ["comfort", "energy"]
    store = make().store
    assert readers.allowed(store, name) is None
    assert readers.allowed(store, name, "energy") == frozenset(("energy",))


def test_from_the_first_grant_on_each_reads_their_own(make: Make, name: str, other: str):
    """A reader gets what was granted; another purpose, and everybody else, are refused with a sentence."""
    list(filled(make))
    collector = make()
    store = collector.store
    until = readers.give(store, name, "energy", 100)
    assert abs(until - time.time() - 100 * 86400) < 60
    collector.allowed = lambda: readers.allowed(store, name)
    assert [one.place.purpose for one in collector.readings()] == ["energy"]
    for who, purpose in ((name, "comfort"), (other, None), (other, "energy")):
        with pytest.raises(Refused, match="may not read"):
            readers.allowed(store, who, purpose)
    assert readers.take(store, name, "comfort") == 0
    assert readers.take(store, name) == 1
    assert readers.grants(store) == []


def test_an_overdue_review_lets_nobody_read(make: Make, name: str):
    """Once the day is over the reader is refused until somebody granted it again; a year is the most."""
    store = make().store
    readers.give(store, name, "energy", 1)
    with store.transaction():
        store.base.link.execute("UPDATE reader SET review_by = 1700000000")
    with pytest.raises(Refused, match="was due on 2023-11-14"):
        readers.allowed(store, name)
    readers.give(store, name, "energy", 365)
    assert readers.allowed(store, name) == frozenset(("energy",))
    for wrong in (
        (name, "energy", 366),
        (name, "energy", 0),
        ("Ada", "energy", 1),
        (name, "a b", 1),
        ("", "energy", 1),
    ):
        with pytest.raises(BadInput):
            readers.give(store, *wrong)


def test_who_read_what_is_kept(make: Make, name: str):
    """Each reading is a line: who, what for, which purposes, from where to where."""
    list(filled(make))
    store = make().store
    readers.note(store, name, "export", frozenset({"energy"}), 0)
    readers.note(store, name, "follow", None, 4)
    store = make().store
    (first, second), last = readers.notes(store), store.last()
    assert (first.name, first.act, first.purposes, first.first, first.last) == (name, "export", "energy", 1, last)
    assert (second.act, second.purposes, second.first) == ("follow", "*", 5)
    assert abs(first.at - time.time()) < 60
