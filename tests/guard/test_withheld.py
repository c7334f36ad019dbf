"""Readings that did not leave are counted by field and reason, never with a value; the owner sees them."""

import json

import pytest

from agent.core.errors import BadInput, NotConsented, UnknownField
from agent.core.telemetry import Sample
from tests.guard.conftest import Kept
from tests.guard.test_lane import send


def counts(kept: Kept) -> dict[tuple[str, str], int]:
    """Return what the status shows."""
    return {(row["field"], row["reason"]): row["count"] for row in kept.ask("status")["withheld"]["rows"]}


def refuse_some(kept: Kept) -> None:
    """Hand in readings that may not leave, for each of the reasons."""
    with pytest.raises(NotConsented):
        send(kept)
    kept.agree("climate")
    for name in ("colour", "shoe_size"):
        with pytest.raises(UnknownField):
            send(kept, name, "443311")
    with pytest.raises(BadInput):
        send(kept, number="warmish")
    for number in ("8850.5", "85", "-40.2"):
        send(kept, number=number)


WANTED = {
    ("", "undeclared"): 2,
    ("temperature", "unconsented"): 1,
    ("temperature", "unreadable"): 1,
    ("temperature", "out_of_range"): 2,
}


def test_each_reason_is_counted(kept: Kept) -> None:
    """By declared field and reason; what was sent as it was measured is counted nowhere."""
    refuse_some(kept)
    assert counts(kept) == WANTED


def test_no_value_and_no_foreign_name_is_kept(kept: Kept) -> None:
    """Neither status, nor notice, nor export, nor the state holds one."""
    refuse_some(kept)
    kept.house.outbox.withheld.keep(now=True)
    assert kept.store is not None
    export = kept.ask("export", part="telemetry")["withheld"]
    told = json.dumps([kept.ask("status")["withheld"], kept.ask("notice"), export, kept.store.get("withheld")])
    assert '"out_of_range"' in told
    for secret in ("8850", "40.2", "443311", "warmish", "colour", "shoe_size"):
        assert secret not in told


def test_counts_outlive_a_restart_and_say_since_when(kept: Kept) -> None:
    """An orderly end writes them; so does an hour."""
    began = kept.system.wall
    refuse_some(kept)
    kept.system.tick(1000)
    kept.reboot()
    assert counts(kept) == WANTED
    assert began <= kept.ask("status")["withheld"]["since"] <= began + 1


def test_a_flood_of_refused_readings_writes_once_an_hour(kept: Kept) -> None:
    """An application that goes wrong cannot wear the card out."""
    assert kept.store is not None
    kept.agree("climate")
    kept.turn()
    for _ in range(3):
        with pytest.raises(UnknownField):
            kept.house.outbox.take([Sample(name="x", number="1", at=0)] * 1000, lambda _failure: None)
        kept.turn()
        kept.system.tick(60)
    assert kept.store.get("withheld")["rows"] == [["", "undeclared", 1000]]
    kept.system.tick(3600)
    kept.turn()
    assert kept.store.get("withheld")["rows"] == [["", "undeclared", 3000]]


def test_consent_taken_back_takes_the_counts_along(kept: Kept) -> None:
    """What was counted of a purpose goes with it; what was never declared stays counted."""
    refuse_some(kept)
    kept.ask("consent", purpose="climate", state="withdrawn")
    assert counts(kept) == {("", "undeclared"): 2}


def test_a_field_that_is_gone_takes_its_counts_along(kept: Kept) -> None:
    """After a policy without it."""
    refuse_some(kept)
    kept.table["fields"] = [row for row in kept.table["fields"] if row["name"] != "temperature"]
    kept.table["sequence"] = 2
    kept.house.take_policy(kept.signed())
    assert counts(kept) == {("", "undeclared"): 2}
