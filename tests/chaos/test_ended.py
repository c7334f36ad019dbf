"""A policy that names a purpose or recipient no more ends the consent to it: asked back, shredded, told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.receipts import records
from agent.core.errors import Unreadable
from agent.guard.breaker import COUNT
from agent.guard.outbox import Outbox
from provisioning.fleet.identity import Fleet
from tests.chaos.test_deletions import Asking, fleet

__all__ = ["fleet"]
MAKER, BOTH = ("collector",), ()
WRITES = 12  # more than taking up a policy makes


@pytest.fixture
def asking(tmp_path: Path, fleet: Fleet) -> Iterator[Asking]:
    """A device that is set up, with readings that both recipients have, and one that waits."""
    made = Asking(tmp_path, fleet)
    made.arrive("18", "19")
    made.measure("20")
    assert made.queued()
    yield made
    made.kept.stop()


def policy(asking: Asking, left: tuple[str, ...]) -> bytes:
    """Sign a policy in which room climate goes to these alone; to nobody: it has no room climate any more."""
    asking.sequence += 1

    def change(table: dict[str, Any]) -> None:
        row = table["recipients"][0]
        public = {"collector": asking.home.public, "maker": asking.maker.public}
        table["recipients"] = [{**row, "id": one, "key": public[one]} for one in left or ("collector",)]
        purposes = [{**p, "recipients": list(left)} if left else p for p in table["purposes"]]
        table["purposes"] = [p for p in purposes if left or p["id"] != "climate"]
        table["fields"] = [f for f in table["fields"] if left or f["purpose"] != "climate"]
        table["sequence"] = asking.sequence

    return asking.kept.signed(change)


def destroyed(asking: Asking) -> bool:
    """Say whether nothing of before waits, and no key to it is left."""
    store = asking.kept.house.books.store
    return store.get("acks/climate") in (None, {}) and not any(
        name.endswith(".seg") for name in asking.kept.system.entries("/var/lib/privet/queue/climate")
    )


def asked(asking: Asking) -> list[str]:
    """Name who was asked and did not confirm."""
    return [row["recipient"] for row in asking.kept.ask("status")["deletions"]]


def test_a_recipient_that_is_dropped_deletes_and_confirms(asking: Asking):
    """The maker has nothing any more; what waited is destroyed, the other is told a gap and reads on."""
    out = asking.connect()
    asking.kept.house.take_policy(policy(asking, MAKER))
    assert asked(asking) == ["maker"]
    (request,) = [one for one in asking.turn(out) if b"privet deletion 1" in one[1]]
    assert len(asking.deliver([request], asking.home, asking.maker)) == 1
    assert (asking.home.read(), asking.maker.read(), asked(asking)) == (["18", "19"], [], [])
    (ended,) = [one for one in asking.entries("consent") if one["state"] == "ended"]
    assert (ended["purpose"], ended["recipient"], ended["by"]) == ("climate", "maker", "policy")
    (confirmed,) = asking.entries("deletion_confirmed")
    assert (confirmed["recipient"], confirmed["deleted"]) == ("maker", 2)
    asking.measure("21")
    asking.talk(asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == (["18", "19", "21"], [])
    assert [gap.count for _, gap in asking.home.store.gaps()] == [1]
    assert asking.home.store.holes() == ()
    assert asking.waiting == set()


def test_a_purpose_that_is_dropped_is_shredded_and_asked_back_from_all(asking: Asking):
    """No queue, no key, no lane; both delete and confirm."""
    out = asking.connect()
    asking.kept.house.take_policy(policy(asking, BOTH))
    assert asked(asking) == ["collector", "maker"]
    assert destroyed(asking)
    assert "climate" not in asking.kept.house.outbox.lanes
    requests = [one for one in asking.turn(out) if b"privet deletion 1" in one[1]]
    asking.deliver(requests, asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read(), asked(asking)) == ([], [], [])
    assert len(asking.entries("deletion_confirmed")) == 2


@pytest.mark.parametrize("left", [MAKER, BOTH], ids=["recipient", "purpose"])
def test_named_again_its_owner_is_asked_again(asking: Asking, left: tuple[str, ...]):
    """The yes of before does not come back by itself; the late request never reaches what a new one brings."""
    out = asking.connect()
    asking.kept.house.take_policy(policy(asking, left))
    late = [one for one in asking.turn(out) if b"privet deletion 1" in one[1]]
    asking.declare()
    assert asking.states()[1] == "never_asked"
    papers = records(asking.kept.ask("export", part="consents"))
    (maker,) = [one for one in papers if one["dct:identifier"].endswith("climate:maker")]
    assert maker["dpv:hasConsentStatus"]["answer"]["@type"] == "dpv:ConsentExpired"
    asking.measure("21") if left else None
    asking.say("given")
    asking.measure("22")
    asking.deliver(late, asking.home, asking.maker)
    asking.talk(asking.home, asking.maker)
    assert asking.maker.read() == ["22"]
    assert asking.home.read() == (["18", "19", "21", "22"] if left else ["22"])


def test_who_took_it_back_before_is_not_asked_twice(asking: Asking):
    """The owner's own no has asked already; the policy that follows asks nothing more, and the no stays one."""
    out = asking.connect()
    asking.say("withdrawn", "maker")
    asking.deliver(asking.turn(out), asking.maker)
    asking.kept.house.take_policy(policy(asking, MAKER))
    assert asked(asking) == []
    asking.declare()
    assert asking.states() == ["given", "withdrawn"]


class Cut(Exception):
    """The power goes."""


@pytest.mark.parametrize("left", [MAKER, BOTH], ids=["recipient", "purpose"])
def test_power_that_goes_at_any_write_loses_no_request(asking: Asking, left: tuple[str, ...]):
    """Cut before the N-th change of the state, for every N: the next start asks, ends the consent, and destroys."""
    message, cuts = policy(asking, left), 0
    for number in range(1, WRITES):
        fired = cut_at(asking, message, number)
        cuts += fired
        asking.kept.system.remove(COUNT)  # that starts end early is not what this is about
        asking.kept.reboot()
        if not fired:
            break
        assert asking.kept.house.rules.policy is not None
        if asking.kept.house.rules.policy.sequence < asking.sequence:
            assert asked(asking) == [], "nothing ends before the policy counts"
            continue
        expect_ended(asking, left)
        message = policy(asking, ("collector", "maker"))
        asking.kept.house.take_policy(message)
        asking.say("given")
        asking.measure("23")
        message = policy(asking, left)
    assert cuts >= 3, "the cuts fired"
    expect_ended(asking, left)


def expect_ended(asking: Asking, left: tuple[str, ...]) -> None:
    """Assert that what is to end has ended: asked, no yes left, nothing queued for whom it ended."""
    store = asking.kept.house.books.store
    gone = ["maker"] if left else ["collector", "maker"]
    assert set(gone) <= set(asked(asking))
    consents = asking.kept.house.books.consents
    assert [consents["climate", one].state for one in gone] == ["ended"] * len(gone)
    assert not [row for row in (store.get("acks/climate") or {}).values() if set(gone) & set(row)]
    assert left or destroyed(asking)


def cut_at(asking: Asking, message: bytes, number: int) -> bool:
    """Take a policy and let the power go before the N-th write; say whether it went."""
    store = asking.kept.store
    assert store is not None
    put, left = store.put, [number]

    def counting(*facts: Any, **more: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise Cut
        return put(*facts, **more)

    store.put = counting  # type: ignore[method-assign]
    try:
        asking.kept.house.take_policy(message)
    except Cut:
        return True
    finally:
        store.put = put  # type: ignore[method-assign]
    return False


def test_a_queue_that_cannot_go_now_goes_later(asking: Asking):
    """On a disk that takes nothing the request stands; what it is about is destroyed when the disk does."""
    asking.kept.system.disk.read_only = True
    asking.kept.house.take_policy(policy(asking, BOTH))
    assert asking.kept.house.outbox.undone is not None
    assert asked(asking) == ["collector", "maker"]
    asking.kept.system.disk.read_only = False
    asking.kept.system.tick(301)
    asking.kept.house.outbox.flush()
    assert asking.kept.house.outbox.undone is None
    assert destroyed(asking)


def test_nothing_goes_before_they_are_asked(asking: Asking):
    """The state takes nothing for a while: neither keys nor queue go, nothing is sent; it is all done when it does."""
    store = asking.kept.store
    assert store is not None
    put = store.put
    refused: list[str] = []

    def full(changes: Any, notes: Any = ()) -> Any:
        if any(name.startswith("deletion/") for name in changes):
            refused.append("deletion")
            raise Unreadable("the disk is full")
        return put(changes, notes)

    store.put = full  # type: ignore[method-assign]
    asking.kept.house.take_policy(policy(asking, BOTH))
    assert refused and asking.kept.house.outbox.undone is not None
    assert (asked(asking), destroyed(asking)) == ([], False)
    out = asking.connect()
    assert asking.turn(out) == []
    store.put = put  # type: ignore[method-assign]
    asking.kept.system.tick(301)
    asking.kept.house.outbox.flush()
    assert (asked(asking), destroyed(asking)) == (["collector", "maker"], True)


def test_twin_without_the_look_nobody_is_asked(asking: Asking):
    """Known bad: a guard that ends nothing drops the purpose, and its recipients keep what they have."""
    outbox: Outbox = asking.kept.house.outbox
    outbox.ends = lambda policy: None
    asking.kept.house.take_policy(policy(asking, BOTH))
    assert asked(asking) == []
    assert asking.maker.read() == ["18", "19"]
