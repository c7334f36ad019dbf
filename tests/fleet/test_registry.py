"""Registry and ledger: what is kept and what is not, tampering found at its row, many who write at once."""

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from sqlalchemy import delete, insert, select, update

from agent.core.errors import BadInput, Missing, Refused, Tampered, Unreachable
from provisioning.fleet import rows
from provisioning.fleet.identity import Fleet
from provisioning.fleet.keeping import forget, publish, revocation_list
from provisioning.fleet.registry import HEAD, Registry
from provisioning.fleet.revocation import LIST, revoke, revoked
from provisioning.fleet.tables import certificates, chain, devices, ledger, tokens
from tests.fleet.enrolling import DAY, Office, asked, key


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet with its registry."""
    return Office(tmp_path)


def lived(office: Office) -> Office:
    """Let something happen: eight rows of the ledger."""
    one, two = office.planned(2)
    first = office.claim(one, asked(key()))
    office.contact(first.certificate)
    office.claim(two, asked(key()))
    office.registry.quarantine(two.device, "seen at a market", "ada")
    office.registry.release(two.device, "bought back", "ada")
    office.registry.transfer(one.device, "ada")
    office.registry.retire(two.device, by="ada")
    return office


MEDDLING: dict[str, tuple[int, Callable]] = {
    "facts changed": (3, lambda c: c.execute(update(ledger).where(ledger.c.row == 3).values(facts="{}"))),
    "event changed": (4, lambda c: c.execute(update(ledger).where(ledger.c.row == 4).values(event="renewed"))),
    "time changed": (2, lambda c: c.execute(update(ledger).where(ledger.c.row == 2).values(at=1))),
    "device changed": (5, lambda c: c.execute(update(ledger).where(ledger.c.row == 5).values(device="d-other"))),
    "facts emptied": (6, lambda c: c.execute(update(ledger).where(ledger.c.row == 6).values(facts=None, device=None))),
    "signature changed": (7, lambda c: c.execute(update(ledger).where(ledger.c.row == 7).values(signature=bytes(64)))),
    "row taken out": (3, lambda c: c.execute(delete(ledger).where(ledger.c.row == 3))),
    "end cut off": (7, lambda c: c.execute(delete(ledger).where(ledger.c.row >= 7))),
    "two rows swapped": (
        4,
        lambda c: [
            c.execute(update(ledger).where(ledger.c.row == a).values(row=b)) for a, b in ((4, 99), (5, 4), (99, 5))
        ],
    ),
}


@pytest.mark.parametrize("how", MEDDLING)
def test_meddling_is_found_at_its_row(office: Office, how: str):
    """Whatever is done to the table from outside, verifying names the first row that is not as it was."""
    row, meddle = MEDDLING[how]
    lived(office)
    assert office.registry.verify() == 8
    with office.registry.engine.begin() as connection:
        meddle(connection)
    with pytest.raises(Tampered, match=f"row {row} "):
        office.registry.verify()


def test_a_row_cannot_be_added_without_the_key(office: Office):
    """Whoever owns the database alone can neither append to the chain nor rewrite it from some row on."""
    lived(office)
    other = Fleet.create(office.fleet.safe.directory / "other", "meadow")
    with office.registry.engine.begin() as connection:
        from provisioning.fleet.ledger import Book

        book = Book(connection, other.ledger_key())
        book.note(1, "released", "d-x")
        book.close()
    with pytest.raises(Tampered, match="row 9 "):
        office.registry.verify()


def test_an_end_that_was_cut_off_cleanly_is_found(office: Office):
    """A whole older state of the database verifies by itself; the end remembered beside it says what is missing."""
    lived(office)
    office.registry.remember()
    with office.registry.engine.begin() as connection:
        connection.execute(delete(ledger).where(ledger.c.row >= 7))
        before = connection.execute(select(ledger.c.hash).where(ledger.c.row == 6)).scalar_one()
        connection.execute(update(chain).values(rows=6, hash=before))
    with pytest.raises(Tampered, match="row 7 of the ledger is missing, and all to row 8"):
        office.registry.verify()
    (office.fleet.safe.directory / HEAD).unlink()
    assert office.registry.verify() == 6, "the known limit: without the remembered end it cannot be known"


def test_no_token_and_no_serial_number_is_in_the_database(office: Office):
    """Searched as bytes: only digests are there, and those of serials need the fleet's own key."""
    serial = "10000000abcd1234"
    _, made = office.registry.batch(2, [serial, "10000000abcd1235"])
    office.claim(made[0], asked(key()))
    with office.registry.engine.connect() as connection:
        content = str([list(connection.execute(select(t))) for t in (devices, tokens, certificates, ledger)]).encode()
    for path in office.fleet.safe.directory.rglob("registry.db*"):
        content += path.read_bytes()
    for secret in (made[0].token, made[1].token):
        assert secret not in content and secret.hex().encode() not in content
    assert serial.encode() not in content
    other = Fleet.create(office.fleet.safe.directory / "other", "meadow")
    assert other.digest_key() != office.fleet.digest_key()
    assert "secret" in repr(made[0]) and made[0].token.hex() not in repr(made[0])


def test_a_board_belongs_to_one_device(office: Office):
    """A serial number that is in use is refused, whole batch and all; after retiring its device it is free again."""
    _, made = office.registry.batch(1, ["10000000abcd1234"])
    with pytest.raises(Refused, match=made[0].device):
        office.registry.batch(2, ["10000000ffff0000", "10000000abcd1234"])
    assert len(office.registry.listing()) == 1
    office.registry.retire(made[0].device, by="ada")
    office.registry.batch(1, ["10000000abcd1234"])
    for count, serials in [(0, []), (-1, []), (2, ["x"]), (10**7, [])]:
        with pytest.raises(BadInput):
            office.registry.batch(count, serials)


def test_what_is_old_is_forgotten_and_the_chain_holds(office: Office):
    """After the time to keep it: no facts, no device, no serial, no retired device; and it still verifies."""
    lived(office)
    assert forget(office.registry) == 0
    office.clock.ahead = 729 * DAY
    assert forget(office.registry) == 0
    office.clock.ahead = 731 * DAY
    assert forget(office.registry) == 8
    assert forget(office.registry) == 0
    assert office.registry.verify() == 9
    with office.registry.engine.connect() as connection:
        bare = connection.execute(select(ledger.c.facts, ledger.c.device).where(ledger.c.row <= 8)).all()
        assert set(bare) == {(None, None)}
    assert [row.state for row in office.registry.listing()] == ["transferring"]
    office.fleet.safe.seal(keep_days="many")
    with pytest.raises(BadInput, match="keep_days"):
        forget(office.registry)


def test_the_list_of_the_revoked_keeps_what_others_put_there(office: Office):
    """A collector's certificate revoked by hand stays listed, whatever the registry publishes."""
    revoke(office.fleet, [office.fleet.service("one").certificate])
    one = office.planned()[0]
    office.claim(one, asked(key()))
    assert not publish(office.registry) or len(revoked(office.fleet)) == 1
    office.registry.quarantine(one.device, "lost", "ada")
    assert publish(office.registry)
    assert {row.name for row in revoked(office.fleet)} == {"service.one", one.device}
    assert not publish(office.registry), "nothing new"
    office.registry.release(one.device, "found", "ada")
    assert publish(office.registry)
    assert {row.name for row in revoked(office.fleet)} == {"service.one"}
    assert revocation_list(office.fleet)
    office.fleet.safe.write(LIST, b"{")
    with pytest.raises(BadInput, match="damaged"):
        publish(office.registry)


def test_the_list_of_a_large_fleet_is_read_and_forgets_what_has_ended(office: Office):
    """Three thousand revoked certificates, as renewals leave them, are listed and in the CRL; ended ones are not."""
    kind = {"device": "d-0123456789abcdef", "key": b"k", "der": b"", "begins": 1, "since": 5, "state": rows.REVOKED}
    soon = office.registry.now() + DAY
    with office.registry.act() as (connection, _book):
        rest = [{"serial": f"{number:040x}", "ends": soon, **kind} for number in range(1, 3001)]
        connection.execute(insert(certificates), [*rest, {"serial": "f" * 40, "ends": soon - 10 * DAY, **kind}])
    assert publish(office.registry) and not publish(office.registry)
    assert len(revoked(office.fleet)) == 3000
    assert len(list(x509.load_der_x509_crl(revocation_list(office.fleet)))) == 3000
    revoke(office.fleet, [office.fleet.service("one").certificate])
    office.clock.ahead = 9 * DAY
    assert publish(office.registry)
    assert [row.name for row in revoked(office.fleet)] == ["service.one"]


def crowd(folder: str, place: str, first: int) -> None:
    """Work as another process on the same fleet."""
    registry = Registry(Fleet.open(Path(folder)), place)
    for _ in range(first):
        made = registry.batch(3)[1]
        registry.token(made[0].device)
        registry.quarantine(made[1].device, "why", "ada")
    registry.close()


def test_many_processes_write_one_chain(office: Office, place: str):
    """Three processes and two threads at once: every act is there, and the chain is whole."""
    directory = str(office.fleet.safe.directory)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=crowd, args=(directory, place, 6)) for _ in range(2)]
    threads = [threading.Thread(target=lambda: office.registry.batch(1)) for _ in range(8)]
    everybody: list[Any] = [*others, *threads]
    for one in everybody:
        one.start()
    for one in everybody:
        one.join()
    assert [one.exitcode for one in others] == [0, 0]
    assert office.registry.verify() == 2 * 6 * 3 + 8
    assert office.registry.counted() == {"planned": 2 * 6 + 8, "flashed": 2 * 6, "quarantined": 2 * 6}


def test_half_an_act_does_not_count(office: Office):
    """What fails in the middle leaves neither rows nor a line in the ledger."""
    one = office.planned()[0]

    def fail() -> None:
        with office.registry.act() as (connection, book):
            rows.quarantine(connection, book, one.device, "why", 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert office.state(one.device) == "planned"
    assert office.registry.verify() == 1


@pytest.fixture
def place() -> str:
    """Say where the registry is, for another process."""
    return ""


def test_a_place_that_is_none_is_told(office: Office):
    """A URL that is none, of another database, with a password in it, and one where nobody is: one sentence each."""
    with pytest.raises(Missing):
        office.registry.quarantine("d-none", "why", "ada")
    for place, kind in [
        ("nonsense", BadInput),
        ("mysql://host/fleet", BadInput),
        ("postgresql://ada:secret@host/fleet", Refused),
        ("postgresql:///fleet?host=/nowhere", Unreachable),
    ]:
        with pytest.raises(kind) as told:
            Registry(office.fleet, place)
        assert "secret" not in str(told.value) and "; " in str(told.value)


def test_the_file_is_the_owners_alone(tmp_path: Path):
    """SQLite's file has mode 0600, keeps its word about writing to disk, and a file that is none is told."""
    office = Office(tmp_path)
    path = office.fleet.safe.directory / "registry.db"
    assert path.stat().st_mode & 0o077 == 0
    with office.registry.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    with sqlite3.connect(path) as other:
        assert other.execute("select count(*) from ledger").fetchone() == (0,)
    other.close()
    office.registry.close()
    path.write_bytes(b"nothing like a database" * 400)
    from agent.core.errors import PrivetError

    with pytest.raises(PrivetError, match="registry"):
        Registry(office.fleet, "")
