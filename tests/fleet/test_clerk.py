"""The clerk, who answers many in one transaction: one failure is one failure, and what is answered is durable."""

import threading
from pathlib import Path

import pytest

from agent.core.errors import Failed
from provisioning.fleet import rows
from provisioning.fleet.clerk import Clerk
from provisioning.fleet.desk import Desk, Outcome, token_hash
from provisioning.fleet.registry import Registry
from tests.fleet.enrolling import Office, asked, key


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """Give a fleet."""
    return Office(tmp_path)


def test_one_who_fails_takes_back_its_own_writes_alone(office: Office):
    """Between two who get their certificates somebody fails half way: the chain is whole, and the two are served."""
    cards = office.planned(3)
    entered, held = threading.Event(), threading.Event()
    clerk = Clerk(office.registry, lambda _: None, lambda: None)

    def first(desk: Desk) -> Outcome:
        entered.set()
        held.wait(20)  # the others are queued meanwhile, so that they share the next transaction
        return desk.claim(cards[0].device, token_hash(cards[0].token), asked(key()))

    def fails(desk: Desk) -> Outcome:
        rows.quarantine(desk.connection, desk.book, cards[1].device, "why", desk.now)
        raise Failed("half way; nothing to do")

    waiting = [clerk.ask(first)]
    assert entered.wait(20)
    waiting.append(clerk.ask(fails))
    waiting.append(clerk.ask(lambda desk: desk.claim(cards[2].device, token_hash(cards[2].token), asked(key()))))
    held.set()
    assert waiting[0].result(20).status == waiting[2].result(20).status == 200
    with pytest.raises(Failed, match="half way"):
        waiting[1].result(20)
    clerk.close()
    assert [office.state(card.device) for card in cards] == ["claimed", "planned", "claimed"]
    assert office.registry.verify() == 3


def test_an_answer_is_durable_first(office: Office):
    """Whoever opens the registry anew the moment an answer is there finds it; who is shut out is told before that."""
    card, told = office.planned()[0], list[str]()
    clerk = Clerk(office.registry, lambda outcome: told.extend(outcome.shut), lambda: told.append("published"))
    for private, status in ((key(), 200), (key(), 403)):
        what = asked(private)
        ask = clerk.ask(lambda desk, what=what: desk.claim(card.device, token_hash(card.token), what))  # type: ignore[misc]
        assert ask.result(20).status == status
        other = Registry(office.fleet, "")
        assert other.verify() == (2 if status == 200 else 3)
        other.close()
    assert told == ["published", card.device]
    clerk.close()


def test_nobody_waits_for_ever_when_the_database_is_gone(office: Office):
    """Every question of a transaction that could not be written gets its error."""
    card = office.planned()[0]
    clerk = Clerk(office.registry, lambda _: None, lambda: None)
    with office.registry.engine.begin() as connection:
        connection.exec_driver_sql("drop table chain")
    waiting = [clerk.ask(lambda desk: desk.claim(card.device, bytes(32), asked(key()))) for _ in range(3)]
    for one in waiting:
        with pytest.raises(Failed, match="registry"):
            one.result(20)
    clerk.close()


def test_one_who_waits_no_more_ends_nothing(office: Office):
    """Whoever asked has gone before the answer: the clerk goes on answering the others."""
    cards = office.planned(2)
    entered, held = threading.Event(), threading.Event()
    clerk = Clerk(office.registry, lambda _: None, lambda: None)

    def first(desk: Desk) -> Outcome:
        entered.set()
        held.wait(20)
        return desk.claim(cards[0].device, token_hash(cards[0].token), asked(key()))

    gone = clerk.ask(first)
    assert entered.wait(20)
    assert gone.cancel()
    held.set()
    stays = clerk.ask(lambda desk: desk.claim(cards[1].device, token_hash(cards[1].token), asked(key())))
    assert stays.result(20).status == 200
    clerk.close()
