"""Consent for each recipient: who is not agreed to opens nothing, whatever it hears; taken back, nothing any more."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core import cose
from agent.core.consent import answer, notice_digest
from agent.core.errors import NotConsented, Unreadable
from tests.chaos.test_recipients import Receiver, Scene


class House(Scene):
    """A device with two recipients of room climate that hear everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.home, self.maker = Receiver(folder, "collector", "home"), Receiver(folder, "maker", "maker")
        self.declare()

    def declare(self, country: str = "US") -> None:
        """Take a policy that names both; the maker sits in this country."""
        self.sequence += 1

        def change(table: dict[str, Any]) -> None:
            row = table["recipients"][0]
            first = {**row, "id": "collector", "key": self.home.public}
            second = {**row, "id": "maker", "key": self.maker.public, "country": country}
            purposes = [{**p, "recipients": ["collector", "maker"]} for p in table["purposes"]]
            table.update(sequence=self.sequence, recipients=[first, second], purposes=purposes)

        self.kept.house.take_policy(self.kept.signed(change))

    def say(self, state: str, *to: str) -> None:
        """Answer as the command does: the notice of these recipients first."""
        row = self.kept.ask("notice", purpose="climate", to=list(to))["purposes"][0]
        self.kept.ask("consent", purpose="climate", to=list(to), state=state, seen=row["seen"])

    def states(self) -> list[str]:
        """Return how each recipient stands."""
        row = self.kept.ask("notice", purpose="climate")["purposes"][0]
        return [one["state"] for one in row["recipients"]]

    def queued(self) -> list[tuple[str, bytes]]:
        """Return what waits, as it would be published."""
        rows = self.kept.house.outbox.lanes["climate"].queue.pending((0, 0), 999)
        return [("privet/1/home/d1/up/climate", cose.message(r.boot, r.seq, r.body)) for r in rows]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A device that is set up."""
    made = House(tmp_path)
    yield made
    made.kept.stop()


def test_only_whom_the_owner_agrees_to_can_open_anything(house: House):
    """Both hear every byte, one reads, the other cannot, nothing waits for it; agreed to later, it reads from then."""
    with pytest.raises(NotConsented):
        house.measure("17")
    house.say("given", "collector")
    assert house.states() == ["given", "never_asked"]
    house.measure("18", "19")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["18", "19"], [])
    assert house.maker.collector.tally.foreign > 0
    assert house.waiting == set()
    house.say("given", "maker")
    house.measure("20")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["18", "19", "20"], ["20"])
    assert house.waiting == set()


def test_taken_back_from_one_what_waits_is_destroyed(house: House):
    """It never gets what was queued; the other is told a gap, has no hole, and reads on. Given again: from then on."""
    house.say("given")
    house.measure("18", "19")
    doomed = house.queued()
    assert len(doomed) == 3
    house.say("withdrawn", "maker")
    assert house.states() == ["given", "withdrawn"]
    assert house.queued() == []
    house.measure("20")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["20"], [])
    assert house.home.store.holes() == ()
    assert [(gap.first, gap.last, gap.count) for _, gap in house.home.store.gaps()] == [(1, 3, 3)]
    assert house.waiting == set()
    assert house.kept.house.outbox.lanes["climate"].dropped == 3
    house.say("given", "maker")
    house.measure("21")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["20", "21"], ["21"])
    # The known-bad twin: had it been sent all the same, the maker would have read it.
    house.maker.collector.receive(doomed)
    assert house.maker.read() == ["21", "18", "19"]


def test_taken_back_from_all_nothing_is_told(house: House):
    """Queue and keys go; neither gets anything, not even a gap, and a reading is refused."""
    house.say("given")
    house.measure("18")
    house.say("withdrawn")
    with pytest.raises(NotConsented):
        house.measure("19")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read(), house.queued()) == ([], [], [])
    assert house.kept.house.books.store.get("acks/climate") is None


@pytest.mark.parametrize("moment", ["before anything", "after the loss was noted"])
def test_power_that_goes_meanwhile_is_made_up_for(house: House, moment: str):
    """The no is kept and nothing else was done: the next start destroys what waits and tells the other of the gap."""
    house.say("given")
    house.measure("18", "19")
    lane, books = house.kept.house.outbox.lanes["climate"], house.kept.house.books
    policy = house.kept.house.outbox.policy
    assert policy is not None
    books.keep_consents(answer(policy, "climate", "withdrawn", "", "anna", 9, ("maker",)))
    if moment != "before anything":
        books.store.put(
            {"holes/climate": [[loss.boot, loss.first, loss.last, loss.count] for loss in lane.queue.losses()]}
        )
    house.kept.reboot()
    house.measure("20")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["20"], [])
    assert [(gap.first, gap.last, gap.count) for _, gap in house.home.store.gaps()] == [(1, 3, 3)]
    assert house.home.store.holes() == () and house.waiting == set()
    house.kept.reboot()
    house.measure("21")
    house.talk(house.home)
    assert house.kept.house.outbox.lanes["climate"].dropped == 0, "told once"


def test_whose_notice_changed_holds_what_was_sealed_to_it(house: House):
    """The maker moves: it is asked anew; what it could open waits for the answer, what it cannot open goes on."""
    house.say("given")
    house.measure("18")
    house.declare(country="KP")
    assert house.states() == ["given", "never_asked"]
    house.measure("19")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["19"], [])
    house.say("given", "maker")
    house.talk(house.home, house.maker)
    assert (sorted(house.home.read()), house.maker.read()) == (["18", "19"], ["18"])
    assert house.waiting == set()


def test_a_disk_that_destroys_nothing_sends_nothing(house: House):
    """The segment cannot be deleted: the owner is told, nothing of it leaves, and it goes as soon as it can be."""
    house.say("given")
    house.measure("18")
    house.kept.system.disk.read_only = True
    with pytest.raises(Unreadable):
        house.say("withdrawn", "maker")
    assert house.states() == ["given", "withdrawn"]
    assert house.queued() != []
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == ([], [])
    house.kept.system.disk.read_only = False
    house.kept.system.tick(301)
    house.kept.turn()
    assert house.queued() == []


def test_a_start_in_between_still_tells_the_gap(house: House):
    """What was destroyed is remembered through a restart until it is told, and then no more."""
    house.say("given")
    house.measure("18", "19")
    house.say("withdrawn", "maker")
    house.kept.reboot()
    house.measure("20")
    house.talk(house.home, house.maker)
    assert (house.home.read(), house.maker.read()) == (["20"], [])
    assert [(gap.first, gap.last, gap.count) for _, gap in house.home.store.gaps()] == [(1, 3, 3)]
    assert house.home.store.holes() == () and house.waiting == set()
    assert house.kept.house.books.store.get("holes/climate") is None


def test_an_answer_of_a_version_before_counts_on(house: House):
    """It was one for all recipients of the purpose: it counts and is kept for each, and is taken back from one."""
    house.say("given")
    policy, store = house.kept.house.outbox.policy, house.kept.store
    assert policy is not None and store is not None
    (row,) = [row for row in store.get("consents") if row["recipient"] == "collector"]
    old = {name: value for name, value in row.items() if name != "recipient"}
    old["notice"] = notice_digest(policy, "climate")  # the digest that version kept: with all recipients
    store.put({"consents": [old]})
    house.kept.reboot()
    assert house.states() == ["given", "given"]
    house.measure("18")
    kept = house.kept.house.books.store.get("consents")
    assert [(row["recipient"], row["state"]) for row in kept] == [("collector", "given"), ("maker", "given")]
    house.say("withdrawn", "maker")
    assert house.states() == ["given", "withdrawn"]
