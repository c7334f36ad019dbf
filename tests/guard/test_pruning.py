"""The journal stays as long as there is a reason, and no clock that jumps makes it go."""

import pytest

from agent.core import journal
from agent.core.journal import DAY
from agent.core.record import replace
from agent.guard.pruning import HOUR
from agent.system.store import Store
from tests.guard.conftest import Kept

YEARS = 10 * 365 * DAY


def store_of(kept: Kept) -> Store:
    """Return the store of a guard that runs."""
    assert isinstance(kept.store, Store)
    return kept.store


def pass_days(kept: Kept, days: int) -> None:
    """Let days go by, the clock with them."""
    for _ in range(days):
        kept.system.tick(DAY)
        kept.turn()


def longest(kept: Kept) -> int:
    """Return the days that an entry is kept at most."""
    return kept.house.pruning.span()[1]


def test_after_its_time_an_entry_goes_and_verification_says_so(kept: Kept) -> None:
    """Within the declared time all is there; past it the oldest are gone, counted, with times; all is sound."""
    kept.turn()
    pass_days(kept, longest(kept) - 2)
    assert store_of(kept).gone.count == 0
    first = store_of(kept).entries(0, 1)[0]
    pass_days(kept, 6)
    told = kept.ask("journal", verify=True)
    assert told["sound"] and told["pruned"]["count"] > 0 and told["pruned"]["since"] == first.wall
    assert told["pruned"]["until"] <= kept.system.wall - longest(kept) * DAY
    (note, *_) = [entry for entry in store_of(kept).entries(0, 5000) if entry.kind == "pruned"]
    assert note.body["since"] == first.wall
    kept.reboot()
    assert kept.ask("journal", verify=True)["pruned"] == told["pruned"]


@pytest.mark.parametrize("jump", [YEARS, -YEARS], ids=["ten years ahead", "ten years back"])
def test_a_clock_that_jumps_makes_nothing_go(kept: Kept, jump: int) -> None:
    """For days the clock says another decade, over a restart, then it is right again: every entry is still there."""
    kept.turn()
    before = store_of(kept).head.count
    kept.system.wall += jump
    pass_days(kept, 3)
    kept.reboot()
    pass_days(kept, 3)
    kept.system.wall -= jump
    pass_days(kept, 1)
    assert store_of(kept).gone.count == 0
    assert store_of(kept).head.count >= before
    # The known-bad twin: by the clock's own word they would all have been too old.
    facts = [(entry.wall, 1) for entry in store_of(kept).entries(0, before)]
    assert journal.overdue(facts, before, kept.system.wall + YEARS, *kept.house.pruning.span()) == before


def test_who_fills_the_journal_loses_the_oldest_not_the_disk(kept: Kept) -> None:
    """Past the room there is, young entries stay; far past it any go, and after a day down to three quarters of it."""
    kept.turn()
    store = store_of(kept)
    line = "x" * 60_000
    for _ in range(journal.MOST // 60_000 + 20):
        store.append("noise", {"text": line})
    kept.system.tick(HOUR * 2)
    kept.turn()
    assert store.gone.count == 0, "young entries stay while it is bearable"
    for _ in range(journal.MOST // 60_000 + 20):
        store.append("noise", {"text": line})
    kept.system.tick(HOUR * 2)
    kept.turn()
    size, _ = store.sizes(1)
    assert 0 < store.gone.count < 200 and journal.MOST < size <= 2 * journal.MOST
    kept.system.tick(2 * DAY)
    for _ in range(4):
        kept.turn()
    size, _ = store.sizes(1)
    assert store.gone.count > 150 and journal.MOST // 2 < size <= journal.MOST
    assert store.verify().damage == ""


def test_the_policy_says_how_long(kept: Kept) -> None:
    """The longest that anybody may keep what was sent, or the diary's ceiling; never less than its floor."""
    rules = kept.house.rules
    assert rules.policy is not None
    declared = max(purpose.retention_days for purpose in rules.policy.purposes)
    assert kept.house.pruning.span() == (1, max(declared, 7))
    rules.policy = replace(rules.policy, purposes=())
    assert kept.house.pruning.span() == (1, 7)
