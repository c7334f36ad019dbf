"""The store's contract, kept by a file and by PostgreSQL alike; what holds when several collectors share it."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core import cose
from agent.core.errors import BadInput, Failed, Refused, Unreachable, Unreadable
from provisioning.collector import asking
from provisioning.collector.open import Gap, Place
from provisioning.collector.receive import Collector
from provisioning.collector.store import KEY, PACK, Store
from tests.collector.device import HOME, Make, Sender, values
from tests.collector.device import KEY as PRIVATE

AT = Place(device="r7k2", purpose="comfort", boot=1)
WORKERS, RECORDS = 4, 60
BEFORE = """
CREATE TABLE stream (id INTEGER PRIMARY KEY, device TEXT NOT NULL, purpose TEXT NOT NULL, UNIQUE (device, purpose));
CREATE TABLE record (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, boot INTEGER NOT NULL,
    seq INTEGER NOT NULL, epoch INTEGER NOT NULL, kind INTEGER NOT NULL, received INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (stream, boot, seq));
CREATE TABLE epoch (stream INTEGER, boot INTEGER, epoch INTEGER, wrapped BLOB NOT NULL,
    PRIMARY KEY (stream, boot, epoch)) WITHOUT ROWID;
CREATE TABLE sender (stream INTEGER, boot INTEGER, mark BLOB NOT NULL, PRIMARY KEY (stream, boot)) WITHOUT ROWID;
CREATE TABLE gap (stream INTEGER, boot INTEGER, first INTEGER, last INTEGER, count INTEGER NOT NULL,
    mark BLOB NOT NULL, PRIMARY KEY (stream, boot, first, last, mark)) WITHOUT ROWID;
CREATE TABLE reach (stream INTEGER, boot INTEGER, seq INTEGER NOT NULL, PRIMARY KEY (stream, boot)) WITHOUT ROWID;
INSERT INTO stream VALUES (1, 'r7k2', 'comfort');
INSERT INTO record VALUES (7, 1, 1, 1, 1, 0, 1700000000, x'01'), (9, 1, 1, 2, 1, 1, 1700000000, x'02');
INSERT INTO reach VALUES (1, 1, 2);
"""


def keep(store: Store, *numbers: int) -> None:
    """Keep records under these numbers, in one transaction."""
    with store.transaction():
        for seq in numbers:
            assert store.add(AT, seq, 1, PACK if seq > 1 else KEY, 1_700_000_000, b"%d" % seq)


def test_what_failed_leaves_nothing(place: Path | str):
    """A transaction that ends in an error has changed nothing, and the next one works."""
    store = Store(place)

    def fails() -> None:
        with store.transaction():
            store.add(AT, 1, 1, KEY, 0, b"gone")
            store.bind(AT, b"mark")
            raise BadInput("what came with it was no good; correct it")

    with pytest.raises(BadInput, match="no good"):
        fails()
    assert (store.body(AT, 1), store.sender(AT), store.last()) == (None, b"", 0)
    keep(store, 1, 2)
    assert store.body(AT, 2) == b"2"
    assert [one.seq for one in store.records(store.last() - 1)] == [2]
    store.close()


def test_a_number_is_kept_once(place: Path | str):
    """The second record under a number is not taken; another store of the same place sees the first."""
    store, other = Store(place), Store(place)
    keep(store, 1)
    with other.transaction():
        assert not other.add(AT, 1, 1, KEY, 0, b"other")
        assert not other.add(AT, 1, 1, KEY, 0, b"other")
    assert other.body(AT, 1) == b"1"
    store.close()
    other.close()


def test_the_reach_passes_pages_gaps_and_no_hole(place: Path | str):
    """Over more records than one page, over gaps of the same sender that lie one behind the other, up to a hole."""
    store = Store(place)
    many = asking.PAGE * 2 + 7
    with store.transaction():
        store.bind(AT, b"me")
        store.add_gap(AT, Gap(boot=1, first=many + 1, last=many + 5, count=5), b"me")
        store.add_gap(AT, Gap(boot=1, first=many + 4, last=many + 9, count=5), b"me")
        store.add_gap(AT, Gap(boot=1, first=many + 10, last=many + 12, count=3), b"stranger")
    keep(store, *range(2, many + 1), many + 11)
    with store.transaction():
        assert store.advance(AT) == 0
    keep(store, 1)
    with store.transaction():
        assert store.advance(AT) == store.reach(AT) == many + 9
    assert store.holes() == ((AT, many + 10, many + 11),)
    assert store.missing(AT) == 9
    store.close()


def child(work: Callable[[], None]) -> int:
    """Run something in a process of its own, which ends with 0 when it came to its end."""
    number = os.fork()
    if number:
        return number
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def take(place: Path | str, messages: list[tuple[str, bytes]]) -> None:
    """Be one of several collectors: receive in small batches; what is acknowledged is there without a hole."""
    store = Store(place)
    collector = Collector("meadow", "home", PRIVATE, store, print)
    left = list(messages)
    while left or collector.waits:
        batch, left = left[:7], left[7:]
        if not batch:
            time.sleep(0.05)  # its key record is on its way to another one
        for _, payload in collector.receive(batch):
            answer = cose.split_ack(payload)
            at = Place(device="r7k2", purpose=answer.purpose, boot=answer.boot)
            assert store._number(asking.KEPT, at, ends=answer.seq) == answer.seq
    store.close()


def test_collectors_that_share_a_store(place: Path | str):
    """Four at once, each with a part of two streams and a third of it twice: all is there once, without a hole."""
    streams = [Sender([HOME], purpose=name) for name in ("comfort", "energy")]
    rows = [[one.epoch(), *(one.send(n) for n in range(RECORDS))] for one in streams]
    Store(place).close()
    shares = [[m for row in rows for m in row[w::WORKERS] + row[w::3]] for w in range(WORKERS)]
    children = [child(lambda share=share: take(place, share[::-1])) for share in shares]  # type: ignore[misc]
    assert [os.waitpid(one, 0)[1] for one in children] == [0] * WORKERS
    store = Store(place)
    for name in ("comfort", "energy"):
        at = Place(device="r7k2", purpose=name, boot=1)
        with store.transaction():
            assert store.advance(at) == store.reach(at) == RECORDS + 1
    assert len(list(store.records(kind=None))) == 2 * (RECORDS + 1)
    store.close()


def test_readers_miss_nothing_that_is_written_meanwhile(place: Path | str):
    """Who asks for what came after a number sees every record in the end: their numbers are in the order of commits."""
    Store(place).close()

    def write(worker: int) -> None:
        store = Store(place)
        at = Place(device=f"d{worker}", purpose="comfort", boot=1)
        for seq in range(1, RECORDS + 1):
            with store.transaction():
                store.add(at, seq, 1, PACK, 0, b"x")
        store.close()

    children = [child(lambda w=w: write(w)) for w in range(WORKERS)]  # type: ignore[misc]
    store, seen, after = Store(place), 0, 0
    ends = time.monotonic() + 60
    while seen < WORKERS * RECORDS and time.monotonic() < ends:
        for one in store.records(after):
            seen, after = seen + 1, one.id
    assert seen == WORKERS * RECORDS
    assert [os.waitpid(one, 0)[1] for one in children] == [0] * WORKERS
    store.close()


def test_a_key_record_that_another_collector_got(make: Make, place: Path | str):
    """What came before its key is stored as soon as the key record is there, whoever got it."""
    sender, one = Sender([HOME]), make()
    key, record = sender.epoch(), sender.send(215)
    assert one.receive([record]) == []
    assert one.waits
    store = Store(place)
    Collector("meadow", "home", PRIVATE, store, print).receive([key])
    store.close()
    ends, answers = time.monotonic() + 5, one.receive([])
    while not answers and time.monotonic() < ends:
        answers = one.receive([])
    assert not one.waits
    assert sender.released(answers) == 2
    assert len(values(one)) == 1


def test_names_that_no_device_has_are_refused(make: Make):
    """A name that a database could not keep is put aside with a sentence, and the batch it came with is kept."""
    sender, collector = Sender([HOME]), make()
    key = sender.epoch()
    for name in ("a\0b", "\udcff", "A" * 300, "ä"):
        collector.receive([(f"privet/1/meadow/{name}/up/comfort", key[1]), key])
    assert collector.tally.refused == 4
    assert sender.released(collector.receive([key])) == 1


def test_a_store_of_before_is_opened(tmp_path: Path):
    """A file that was written before there was a choice of databases goes on as it was."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as base:
        base.executescript(BEFORE)
    base.close()
    store = Store(path)
    assert [(one.id, one.place, one.seq, one.body) for one in store.records()] == [(9, AT, 2, b"\x02")]
    keep(store, 3)
    with store.transaction():
        assert store.advance(AT) == 3
    store.close()


def test_the_file_is_written_before_it_says_yes(tmp_path: Path):
    """synchronous=FULL and a write-ahead log, on every connection."""
    store = Store(tmp_path / "t.db")
    asked = [store.base.link.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    assert asked == [2, "wal"]
    store.close()


def test_what_cannot_be_a_store_is_said(tmp_path: Path):
    """A folder, another database, a password in the URL, a network without verified TLS: one sentence each."""
    with pytest.raises(Unreadable, match="check the disk"):
        Store(tmp_path)
    (tmp_path / "text").write_text("no database at all, " * 99)
    with pytest.raises(Unreadable, match="restore"):
        Store(tmp_path / "text")
    with pytest.raises(BadInput, match="SQLite or PostgreSQL"):
        Store("mysql://host/fleet")
    with pytest.raises(Refused, match="pgpass"):
        Store("postgresql://me:secret@/fleet")
    with pytest.raises(Refused, match="verify-full"):
        Store("postgresql://db.example/fleet")
    with pytest.raises(Unreachable, match="start it"):
        Store(f"postgresql:///fleet?host={tmp_path}")


def test_a_store_that_is_busy_for_too_long(tmp_path: Path):
    """A writer who keeps the file for himself makes the others fail with a sentence, not wait for ever."""
    one, other = Store(tmp_path / "t.db"), Store(tmp_path / "t.db")
    other.base.link.execute("PRAGMA busy_timeout = 20")
    with one.transaction(), pytest.raises(Failed, match="locked"), other.transaction():
        pass
    one.close()
    other.close()
