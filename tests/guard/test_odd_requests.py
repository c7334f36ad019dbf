"""Requests and messages that nobody sends by mistake: one sentence each, the guard goes on, nothing is filled."""

import json

import pytest

from agent.core.errors import BadInput, PrivetError
from agent.guard.callers import Caller
from tests.guard.conftest import Kept
from tests.guard.test_lane import ack, send

ODD: tuple[object, ...] = (
    None,
    True,
    -1,
    1 << 63,
    1 << 64,
    -(1 << 70),
    10**400,
    "",
    "\ud800",
    "\x1b[2J",
    [],
    [[]],
    [{}],
    {},
    {"a": []},
)
WORDS = ("after", "at", "once", "part", "purpose", "seconds", "send", "setting", "since", "taken", "to", "value")
BEGUN: tuple[dict[str, object], ...] = ({}, {"setting": "ssh.password"}, {"part": "journal"}, {"once": True})


def test_every_act_takes_every_kind(kept: Kept) -> None:
    """Whatever stands where a word, a number or a list should: an answer or a sentence, and never the guard's end."""
    owner = Caller(name="anna", role="owner")
    for act in sorted(set(kept.house.acts.table) - {"enforce", "status", "tighten", "version"}):
        for begun in BEGUN:
            for word in WORDS:
                for odd in ODD:
                    try:
                        answer = kept.house.acts.perform(owner, {"op": act, **begun, word: odd})
                    except (PrivetError, UnicodeEncodeError):
                        continue
                    json.dumps(answer)


def test_beyond_the_journal_is_nothing(kept: Kept) -> None:
    """A number that no database has room for comes after every entry."""
    for since in (1 << 62, 1 << 63, 10**400):
        assert kept.ask("journal", role="maintainer", since=since)["entries"] == []
        assert kept.ask("export", part="journal", after=since)["entries"] == []
        assert kept.ask("egress", since=since)["next"] is None


def test_a_time_that_no_seal_holds_is_refused_alone(kept: Kept) -> None:
    """An application's time beyond all calendars takes no readings of others with it."""
    kept.agree("climate")
    failures: list[PrivetError | None] = []

    class Application:
        """What answers go to."""

        waiting = 0

        def reply(self, answer: dict[str, object]) -> None:
            """Take one."""
            failures.append(None if answer["ok"] else BadInput(str(answer)))

    for at in (1 << 64, 10**400, 253402300800):
        with pytest.raises(BadInput, match="whole Unix seconds"):
            kept.house.intake(Application(), {"send": {"temperature": "21.5"}, "at": at})  # type: ignore[arg-type]
    kept.house.intake(Application(), {"send": {"temperature": "21.5"}, "at": 253402300799})  # type: ignore[arg-type]
    kept.house.intake(Application(), {"send": {"temperature": "20.5"}})  # type: ignore[arg-type]
    kept.turn()
    assert failures == [None, None]
    assert kept.house.outbox.lanes["climate"].accepted == 2


def test_a_broker_that_forges_without_end_does_not_fill_the_disk(kept: Kept) -> None:
    """Thousands of forged acknowledgements and policies: a few entries an hour, which say how many there were."""
    kept.agree("climate")
    send(kept)
    kept.turn()
    lane = kept.house.outbox.lanes["climate"]
    good = ack(kept, lane.mine.boot, lane.seq)
    for number in range(2000):
        kept.house.heard(["received", "ack", good[:-3] + bytes([good[-3] ^ 1]) + number.to_bytes(2, "big")])
        kept.house.heard(["received", "policy", number.to_bytes(40, "big")])
        kept.house.heard(["received", f"kind {number}", b""])

    def refused() -> list[dict[str, object]]:
        assert kept.store is not None
        return [entry.body for entry in kept.store.entries(0, 9999) if entry.kind == "refused"]

    assert 3 <= len(refused()) <= 30
    kept.system.tick(3601)
    kept.house.heard(["received", "policy", b"late"])
    assert refused()[-1]["what"] == "policy"
    assert int(str(refused()[-1]["more"])) > 1900
    assert lane.queue.count > 0


def test_what_the_courier_says_hides_nothing(kept: Kept) -> None:
    """The process with the network may be anybody's: its words reach no terminal as an order."""
    kept.house.heard(["state", "offline", "\x1b[8m\u202e" + "x" * 1000])
    link = kept.ask("status")["link"]
    assert link["cause"].isprintable()
    assert len(link["cause"]) < 400
