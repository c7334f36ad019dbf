"""Held purposes on a simulated device: durable at once, sent after the end of the span, whenever it was measured."""

from typing import Any

import pytest

from agent.core.telemetry import Sample
from tests.guard.conftest import Kept
from tests.guard.test_lane import published, send

SPAN = 900


def begun(fresh: Kept, **changes: Any) -> Kept:
    """Start a device whose temperature has a bucket of a quarter of an hour, at the beginning of one."""
    fresh.table["fields"] = [
        {**row, "bucket": SPAN, **changes} for row in fresh.table["fields"] if row["name"] == "temperature"
    ]
    fresh.system.edit("/etc/privet/policy.cbor", fresh.signed(), mode=0o600)
    fresh.start()
    fresh.agree("climate")
    fresh.system.tick(SPAN - fresh.system.wall % SPAN)
    fresh.turn()
    return fresh


def sent_after(kept: Kept) -> int:
    """Turn the clock second by second until something is sent; return the seconds since the beginning of the span."""
    begin = kept.system.wall // SPAN * SPAN
    for _ in range(3 * SPAN):
        kept.turn()
        if published(kept):
            return kept.system.wall - begin
        wait = int(kept.house.outbox.left())
        assert wait > 0, "the guard would turn for nothing"
        kept.system.tick(min(wait, SPAN))
    raise AssertionError("nothing was ever sent")


@pytest.mark.parametrize("second", [0, 1, 40, 450, 899])
def test_the_moment_of_a_measurement_does_not_show(fresh: Kept, second: int) -> None:
    """Whenever in its span it was measured: durable at once, and sent in the same second of the next one."""
    kept = begun(fresh)
    kept.system.tick(second)
    send(kept)
    lane = kept.house.outbox.lanes["climate"]
    assert lane.queue.count == 2, "sealed and on the disk"
    assert published(kept) == []
    assert sent_after(kept) == SPAN + kept.house.outbox.holds["climate"].offset


def test_without_the_hold_it_would_show(fresh: Kept) -> None:
    """The known-bad twin: the same reading leaves in the second it was measured."""
    kept = begun(fresh)
    kept.house.outbox.hold("climate", 0)
    kept.system.tick(40)
    send(kept)
    assert len(published(kept)) == 2


def test_figures_leave_in_the_span_after_theirs(fresh: Kept) -> None:
    """Not one span later: when they are made, their bucket is over."""
    kept = begun(fresh, keep=["mean"])
    kept.system.tick(40)
    send(kept)
    assert sent_after(kept) == SPAN + kept.house.outbox.holds["climate"].offset


def test_what_was_kept_before_a_restart_leaves_with_it(fresh: Kept) -> None:
    """A device that is off at each end of a span sends all the same."""
    kept = begun(fresh)
    send(kept)
    kept.reboot()
    assert len(published(kept)) == 2


def test_a_clock_set_back_for_years_holds_nothing_for_years(fresh: Kept) -> None:
    """It leaves then, for its moment would never come."""
    kept = begun(fresh)
    send(kept)
    kept.system.wall -= 86400 * 400
    assert len(published(kept)) == 2


def test_a_burst_is_cut_to_the_declared_number(fresh: Kept) -> None:
    """The first ones of each bucket are taken, the others counted; the application is told how many were kept."""
    kept = begun(fresh, most=2)
    for _ in range(4):
        send(kept)
    late = Sample(name="temperature", number="20", at=kept.system.wall)
    assert kept.house.outbox.take([late], lambda _failure: None) == 0
    lane = kept.house.outbox.lanes["climate"]
    assert lane.accepted == 2
    rows = kept.ask("status")["withheld"]["rows"]
    assert [(row["field"], row["reason"], row["count"]) for row in rows] == [("temperature", "over_rate", 3)]
    kept.system.tick(SPAN)
    send(kept)
    assert lane.accepted == 3


def test_a_burst_into_figures_is_cut_too(fresh: Kept) -> None:
    """Only so many readings count into a bucket."""
    kept = begun(fresh, most=2, keep=["count", "max"])
    for number in ("20", "21", "40"):
        send(kept, number=number)
    kept.system.tick(SPAN)
    kept.turn()
    (message,) = [m for m in kept.ask("preview")["messages"] if m["purpose"] == "climate"]
    rows = [(row["n"], row["v"]) for row in message["pack"]]
    assert rows == [
        ("temperature/count", "2"),
        ("temperature/max", "21.0"),
    ]


def test_noise_comes_from_the_system_and_stays_in_range(fresh: Kept) -> None:
    """A mean of one reading under a small epsilon is anything but that reading, and within range and steps."""
    kept = begun(fresh, keep=["mean"], noise=[1, 100, 1])
    values = set()
    for _ in range(12):
        send(kept, number="21.5")
        kept.system.tick(SPAN)
        kept.turn()
        (message,) = [m for m in kept.ask("preview")["messages"] if m["purpose"] == "climate"]
        values.add(float(message["pack"][0]["v"]))
    assert len(values) > 1
    assert all(-40 <= value <= 85 and value * 2 % 1 == 0 for value in values)


def test_a_purpose_of_a_minute_is_not_held(kept: Kept) -> None:
    """As the profile that ships has it: what the owner sees is there at once."""
    assert kept.house.outbox.holds == {}
    kept.agree("climate")
    send(kept)
    assert len(published(kept)) == 2
