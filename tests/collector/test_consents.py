"""Consent at the collector: an epoch that was not agreed to is neither kept nor acknowledged, and costs no reading."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.collector.consents import Notices
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from provisioning.fleet.identity import Fleet
from tests.collector.device import CONSENT, HOME, KEY, Sender, said, values
from tests.collector.test_deletion import Owner, meadow

__all__ = ["meadow"]
OTHER = CONSENT[:40] + bytes(32)
ASKED = 1_795_489_000


class Known:
    """The declarations a collector knows; more may become known."""

    def __init__(self, *digests: bytes) -> None:
        self.digests = set(digests)
        self.asked: set[tuple[str, str]] = set()

    def __call__(self, purpose: str, recipient: str) -> frozenset[bytes]:
        """Return those known now."""
        self.asked.add((purpose, recipient))
        return frozenset(self.digests)


def opened(place: Path, meadow: Fleet, notices: Notices, kind: type[Collector] = Collector) -> Collector:
    """Open a collector that compares notices."""
    told: list[str] = []
    made = kind("meadow", "home", KEY, Store(place), told.append, meadow.trust_anchor(), notices=notices)
    made.said = told  # type: ignore[attr-defined]
    return made


@pytest.fixture
def known() -> Known:
    """The one declaration that devices of these tests name."""
    return Known(CONSENT[40:])


@pytest.fixture
def collector(tmp_path: Path, meadow: Fleet, known: Known) -> Iterator[Collector]:
    """A collector that knows one declaration."""
    made = opened(tmp_path / "store.db", meadow, known)
    yield made
    made.store.close()


def messages(sender: Sender) -> list[tuple[str, bytes]]:
    """Seal a key record and two readings."""
    return [sender.epoch(), sender.send(180), sender.send(190)]


def nothing_of(collector: Collector) -> bool:
    """Say whether the store holds nothing at all."""
    return not list(collector.store.records(kind=None)) and not values(collector)


def test_what_was_agreed_to_is_taken(collector: Collector, known: Known):
    """The consent names a declaration that is known for this purpose and recipient."""
    sender = Sender([HOME])
    assert sender.released(collector.receive(messages(sender))) == 3
    assert len(values(collector)) == 2
    assert known.asked == {("comfort", "home")}


def test_a_device_that_tells_no_consent_keeps_everything(collector: Collector):
    """An agent of before: nothing is kept here, nothing is acknowledged there; counted, and told once an epoch."""
    sender = Sender([HOME])
    sender.consents = {}
    sent = messages(sender)
    assert collector.receive(sent) == []
    assert collector.receive(sent) == []
    assert collector.tally.untold == 6
    assert len(said(collector)) == 1 and "tells nothing of its owner's consent" in said(collector)[0]
    assert nothing_of(collector)


def test_another_notice_waits_until_it_is_known(collector: Collector, known: Known):
    """A policy that was not brought here costs no reading: unacknowledged, all of it comes again, and is taken then."""
    sender = Sender([HOME])
    sender.consents = {"home": OTHER}
    sent = messages(sender)
    assert collector.receive(sent) == []
    assert collector.tally.unnoticed == 3
    assert nothing_of(collector)
    known.digests.add(OTHER[40:])
    assert sender.released(collector.receive(sent)) == 3
    assert len(values(collector)) == 2


def test_records_that_came_before_their_key_record_are_turned_away_with_it(collector: Collector):
    """They wait for the key as ever; it brings no consent, and they are gone from memory, too."""
    sender = Sender([HOME])
    sender.consents = {}
    key, *rest = messages(sender)
    assert collector.receive(rest) == []
    assert collector.waits
    assert collector.receive([key]) == []
    assert not collector.waits
    assert collector.tally.untold == 3
    assert nothing_of(collector)


@pytest.mark.parametrize(("at", "taken"), [(ASKED - 1, False), (ASKED, False), (ASKED + 1, True)])
def test_sealed_after_the_withdrawal(collector: Collector, meadow: Fleet, at: int, taken: bool):
    """A new start under the consent that was taken back is turned away; under one given later it is taken."""
    sender = Sender([HOME])
    collector.receive(messages(sender))
    owner = Owner(meadow)
    owner.believes(collector.receive([owner.ask(sender, 1, ASKED)]))
    again = Sender([HOME], boot=2, before=sender)
    again.consents = {"home": at.to_bytes(8, "big") + CONSENT[8:]}
    assert again.released(collector.receive(messages(again))) == (3 if taken else 0)
    assert collector.tally.withdrawn == (0 if taken else 3)
    assert len(values(collector)) == (2 if taken else 0)
    assert taken or any("taken back" in one for one in said(collector))


def test_what_comes_late_of_a_deleted_start_is_counted(collector: Collector, meadow: Fleet):
    """Records of before the withdrawal are counted as such."""
    sender = Sender([HOME])
    sent = messages(sender)
    collector.receive(sent)
    collector.receive([Owner(meadow).ask(sender, 1, ASKED)])
    assert collector.receive(sent) == []
    assert collector.tally.withdrawn == 3


def test_a_consent_is_each_epochs_own(collector: Collector):
    """An epoch that was agreed to does not let the next one in; what is between them is a hole, never acknowledged."""
    sender = Sender([HOME])
    first = messages(sender)
    sender.consents = {"home": OTHER}
    second = messages(sender)
    sender.consents = {"home": CONSENT}
    third = messages(sender)
    assert sender.released(collector.receive([*first, *second, *third])) == 3
    assert len(values(collector)) == 4
    assert [hole[1:] for hole in collector.store.holes()] == [(4, 7)]


def test_after_a_restart_the_answer_is_the_same(tmp_path: Path, meadow: Fleet, collector: Collector, known: Known):
    """Another collector of the same store turns the same away, also a worker that never got the key record."""
    sender = Sender([HOME])
    sender.consents = {"home": OTHER}
    sent = messages(sender)
    collector.receive(sent)
    other = opened(tmp_path / "store.db", meadow, known)
    assert other.receive(sent[1:]) == []
    assert other.receive(sent) == []
    assert nothing_of(other)
    other.store.close()


class Careless(Collector):
    """Known to be bad: looks at no consent."""

    def _agreed(self, *_facts: object) -> bool:
        return True


@pytest.mark.parametrize("consents", [{}, {"home": OTHER}])
def test_twin_without_the_look_it_is_kept(tmp_path: Path, meadow: Fleet, known: Known, consents: dict[str, bytes]):
    """Known bad: the same messages are opened, kept and acknowledged."""
    careless = opened(tmp_path / "careless.db", meadow, known, Careless)
    sender = Sender([HOME])
    sender.consents = consents
    assert sender.released(careless.receive(messages(sender))) == 3
    assert len(values(careless)) == 2
    careless.store.close()
