"""Readings of which only figures leave, on a simulated device: nothing until the bucket is over, then one row each."""

from typing import Any

import pytest

from agent.core.errors import BadInput
from tests.guard.conftest import Kept
from tests.guard.test_lane import send


@pytest.fixture
def averaged(fresh: Kept) -> Kept:
    """A device whose temperature leaves as mean and count of a minute; humidity leaves as it is."""
    fresh.table["fields"] = [
        {**row, "keep": ["count", "mean"]} if row["name"] == "temperature" else row for row in fresh.table["fields"]
    ]
    fresh.system.edit("/etc/privet/policy.cbor", fresh.signed(), mode=0o600)
    fresh.start()
    fresh.agree("climate")
    fresh.system.tick(60 - fresh.system.wall % 60)  # to the beginning of a bucket
    return fresh


def rows(kept: Kept) -> list[tuple[str, str]]:
    """Return name and value of what was sealed last for the purpose."""
    told = {m["purpose"]: m["pack"] for m in kept.ask("preview")["messages"]}
    return [(row["n"], row["v"]) for row in told["climate"]]


def test_nothing_leaves_before_the_bucket_is_over(averaged: Kept) -> None:
    """Accepted at once; sealed when the minute is over, once; the guard wakes up for it."""
    assert send(averaged, number="21.0") == [None]
    averaged.system.tick(30)
    send(averaged, number="22.0")
    averaged.turn()
    lane = averaged.house.outbox.lanes["climate"]
    assert (lane.accepted, lane.queue.size) == (0, 0)
    assert averaged.house.hold() == 30
    averaged.system.tick(30)
    averaged.turn()
    assert rows(averaged) == [("temperature/count", "2"), ("temperature/mean", "21.5")]
    averaged.system.tick(600)
    averaged.turn()
    assert lane.accepted == 2


def test_other_fields_leave_at_once(averaged: Kept) -> None:
    """In the same request."""
    send(averaged, "humidity", "48")
    assert rows(averaged) == [("humidity", "48")]


def test_an_orderly_end_closes_what_is_open(averaged: Kept) -> None:
    """Its figures say of how many readings they are."""
    send(averaged, number="20")
    averaged.reboot()
    ledger = averaged.ask("egress", since=0)
    assert ledger["next"] is not None
    assert averaged.house.outbox.lanes["climate"].queue.count == 2, "a key record and the figures"


def test_consent_taken_back_forgets_what_was_counted(averaged: Kept) -> None:
    """Nothing of it leaves later."""
    send(averaged)
    averaged.ask("consent", purpose="climate", state="withdrawn")
    averaged.system.tick(60)
    averaged.turn()
    assert averaged.house.outbox.lanes["climate"].queue.size == 0


def test_a_new_policy_closes_what_the_old_one_counted(averaged: Kept) -> None:
    """What was counted under the old declaration leaves under it, or not at all when its purpose is gone."""
    send(averaged)
    policy = averaged.house.rules.policy
    assert policy is not None
    averaged.house.outbox.adopt(policy)
    averaged.turn()
    assert rows(averaged) == [("temperature/count", "1"), ("temperature/mean", "21.5")]


def test_what_is_no_number_counts_nowhere(averaged: Kept) -> None:
    """The whole request is refused."""
    with pytest.raises(BadInput):
        send(averaged, number="warm")
    assert averaged.house.outbox.windows.open == {}


def test_times_from_anywhere_open_no_bucket_for_long(averaged: Kept) -> None:
    """A thousand readings with times of other years leave the memory with the next turn."""
    samples = [{"temperature": "20", "at": year * 31_536_000} for year in range(1000)]
    told = averaged.ask("preview", send=samples)
    assert len(told["messages"][0]["pack"]) == 2000
    from agent.guard.readings import read_samples

    said: list[Any] = []
    averaged.house.outbox.take(read_samples({"send": samples}, averaged.system.clock()), said.append)
    averaged.turn()
    assert averaged.house.outbox.windows.open == {}
    assert said == [None]


def test_a_preview_shows_the_figures(averaged: Kept) -> None:
    """Of the readings that were given, and nothing is counted by it."""
    told = averaged.ask("preview", send=[{"temperature": "20"}, {"temperature": "21"}])["messages"]
    assert [(row["n"], row["v"]) for row in told[0]["pack"]] == [
        ("temperature/count", "2"),
        ("temperature/mean", "20.5"),
    ]
    assert averaged.house.outbox.windows.open == {}
