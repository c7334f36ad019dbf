"""A policy with which the guard dies at each start: three such starts, and the last good one counts again."""

import pytest

from agent.core.errors import BadInput
from agent.core.frame import framed
from agent.guard import breaker
from tests.guard.conftest import Kept


def poisoned(kept: Kept) -> bytes:
    """Make a signed policy that this version takes and then dies of: it names a kind of credential from the future."""

    def change(table):
        table["credentials"].append({"kind": "from_the_future", "params": {}})
        table.update(sequence=2, baseline={**table["baseline"], "ssh.forwarding": ["tcp"]})
        table["reasons"]["ssh.forwarding"] = "support"

    return kept.signed(change)


def poison(kept: Kept) -> None:
    """Start well once, then take the policy."""
    kept.start()
    kept.turn()
    kept.house.take_policy(poisoned(kept))


def dies(kept: Kept) -> bool:
    """Start the device and its guard; say whether the guard died of it."""
    kept.stop()
    kept.system.reboot()
    try:
        kept.start()
    except BadInput:
        return True
    kept.turn()
    return False


def test_the_fourth_start_has_the_last_good_policy_and_stands_private(fresh: Kept) -> None:
    """Three deaths are counted; then: private, the suspicious policy named, told, journaled, and refused from afar."""
    poison(fresh)
    assert [dies(fresh) for _ in range(4)] == [True, True, True, False]
    rules = fresh.house.rules
    assert rules.policy is not None
    assert rules.policy.sequence == 1
    assert {r["status"] for r in fresh.ask("status")["findings"]} <= {"ok", "absent"}
    told = next(t["text"] for t in fresh.told() if "did not start well" in t["text"])
    assert "policy number 2" in told
    assert "3 times in a row" in told
    assert fresh.store is not None
    noted = [dict(e.body) for e in fresh.store.entries(0, 9999) if e.kind == "policy"]
    assert noted[-1]["set_aside"] == "policy number 2"
    assert not dies(fresh)
    assert breaker.unhealthy(fresh.system) == 0
    fresh.house.heard(["received", "policy", poisoned(fresh)])
    assert rules.policy.sequence == 1
    assert not dies(fresh)


def test_a_twin_without_the_breaker_dies_for_ever(fresh: Kept) -> None:
    """Known bad: when nothing is counted, no start is better than the one before."""
    poison(fresh)
    for _ in range(8):
        fresh.system.remove(breaker.COUNT)
        assert dies(fresh)


def test_good_starts_and_ordinary_failures_do_not_add_up(fresh: Kept) -> None:
    """Two bad starts, a good one, two bad ones: nothing is set aside."""
    poison(fresh)
    assert [dies(fresh) for _ in range(2)] == [True, True]
    signed = fresh.system.read("/etc/privet/policy.cbor")
    store = fresh.start_store()
    store.put({"policy": signed})
    store.close()
    assert not dies(fresh)
    store = fresh.start_store()
    store.put({"policy": poisoned(fresh)})
    store.close()
    assert [dies(fresh) for _ in range(3)] == [True, True, True]
    assert not dies(fresh)


def test_without_any_good_policy_every_setting_is_at_its_strictest(fresh: Kept) -> None:
    """The very first policy kills: nothing is known to be good, so none counts, and nothing comes in."""
    fresh.system.edit("/etc/privet/policy.cbor", fresh.signed(lambda t: t["credentials"].append(
        {"kind": "from_the_future", "params": {}})), mode=0o600)  # fmt: skip
    for _ in range(3):
        with pytest.raises(BadInput):
            fresh.start()
        fresh.stop()
        fresh.system.reboot()
    fresh.start()
    fresh.turn()
    assert fresh.house.rules.baseline()["firewall.inbound"] == ()
    assert fresh.status("firewall.inbound") == "ok"
    assert [t for t in fresh.told() if "every setting stands at its strictest" in t["text"]]


@pytest.mark.parametrize("kept_bytes", [b"", b"rubbish", framed("STARTS", {"unhealthy": -4}), framed("OTHER", {})])
def test_a_damaged_count_begins_anew(fresh: Kept, kept_bytes: bytes) -> None:
    """It gives nothing up and never stops the start."""
    fresh.system.edit(breaker.COUNT, kept_bytes, mode=0o600)
    assert breaker.begin(fresh.system) == 0
    assert breaker.begin(fresh.system) == 1


def test_a_broker_that_was_reached_before_and_is_not_is_a_warning(kept: Kept) -> None:
    """Once in each start, after a quarter of an hour; not for one that was never reached; no start is bad for it."""
    kept.system.tick(1000)
    kept.turn()
    assert kept.told() == []
    kept.house.heard(["state", "connected", ""])
    kept.turn()
    kept.reboot()
    for seconds in (800, 200, 4000, 4000):
        kept.system.tick(seconds)
        kept.turn()
    assert len([t for t in kept.told() if "cannot be reached since this device started" in t["text"]]) == 1
    assert breaker.unhealthy(kept.system) == 0
