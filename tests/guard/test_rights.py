"""What the owner may see and take: the next message, the egress ledger, an export; on a simulated device."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.core.errors import BadInput, Refused, UnknownField, Unreadable
from agent.guard.books import Journal
from agent.guard.egress import AGAIN, LINES, MOST, SPAN
from agent.guard.line import OUT
from agent.system.segment import Row
from tests.guard.conftest import Kept
from tests.guard.test_lane import ack, published, send


class Full:
    """A store on a disk that takes nothing until it is told to."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.takes = False
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's."""
        return getattr(self.store, name)

    def put(self, changes: Mapping[str, Any], notes: Sequence[Journal] = ()) -> Any:
        """Refuse as a full disk does."""
        if not self.takes:
            self.refused += 1
            raise Unreadable("the disk is full")
        return self.store.put(changes, notes)


def ledger(kept: Kept) -> list[dict[str, Any]]:
    """Read the whole ledger as the command does."""
    rows: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": 0}
    while page["next"] is not None:
        page = kept.ask("egress", since=page["next"])
        rows.extend(page["rows"])
    return rows


def lines(kept: Kept, purpose: str = "climate") -> list[dict[str, Any]]:
    """Return the lines of one purpose."""
    return [line for row in ledger(kept) if row["purpose"] == purpose for line in row["lines"]]


def test_a_preview_is_exactly_what_would_be_sealed(kept: Kept) -> None:
    """Rounded, clamped, timed to its bucket, with who could open it; nothing is queued; its digest is the ledger's."""
    told = kept.ask("preview", send={"temperature": "21.537"})["messages"]
    assert [(m["purpose"], m["to"][0]["name"] != "") for m in told] == [("climate", True)]
    assert [(row["n"], row["v"], row["u"]) for row in told[0]["pack"]] == [("temperature", "21.5", "Cel")]
    assert told[0]["pack"][0]["bt"] % 60 == 0
    assert "has not agreed" in told[0]["refused"]
    assert kept.house.outbox.lanes["climate"].queue.size == 0
    kept.agree("climate")
    told = kept.ask("preview", send={"temperature": "21.537"})["messages"]
    assert told[0]["refused"] == ""
    send(kept, number="21.537")
    assert told[0]["digest"] in [line["digest"] for line in lines(kept)]
    latest = {m["purpose"]: m for m in kept.ask("preview")["messages"]}
    assert latest["climate"]["digest"] == told[0]["digest"]
    assert latest["warnings"]["pack"] == []
    kept.ask("consent", purpose="climate", state="withdrawn")
    assert {m["purpose"]: m["pack"] for m in kept.ask("preview")["messages"]}["climate"] == []


def test_a_ledger_that_is_full_keeps_no_answer_from_its_asker(kept: Kept) -> None:
    """A hundred full entries of the ledger: the journal, the ledger and the export still fit their line of JSON."""
    kept.agree("climate")
    book = kept.house.outbox.ledger
    for first in range(1, 120 * LINES, LINES):
        rows = [Row(boot=9, seq=first + n, body=b"") for n in range(LINES)]
        book.note("climate", ["collector"], rows, [b"d" * 32] * LINES)
        assert book.keep()
    for told in (kept.ask("journal"), kept.ask("egress", since=0), kept.ask("export", part="journal", after=0)):
        assert len(json.dumps(told)) < OUT
    (last,) = [row["body"] for row in kept.ask("journal")["entries"]][-1:]
    assert (last["messages"], "lines" in last) == (LINES, False), "egress itself tells them"
    assert sum(len(row["lines"]) for row in ledger(kept)) == 120 * LINES


def test_a_preview_refuses_what_would_be_refused(kept: Kept) -> None:
    """What is not declared, and what is no number."""
    with pytest.raises(UnknownField):
        kept.ask("preview", send={"colour": "3"})
    with pytest.raises(BadInput):
        kept.ask("preview", send={"temperature": "warm"})


@pytest.mark.parametrize("op", ["preview", "egress", "export"])
def test_only_the_owner_sees_and_takes(kept: Kept, op: str) -> None:
    """A maintainer and a viewer are refused."""
    for role in ("maintainer", "viewer", "nobody"):
        with pytest.raises(Refused):
            kept.ask(op, role=role, part="consents")


def test_every_message_is_in_the_ledger(kept: Kept) -> None:
    """Each that is published, with its size as published; the key record too, which holds no reading."""
    kept.agree("climate")
    send(kept)
    send(kept, number="22")
    out = [(payload, len(payload)) for _, _, payload in published(kept)]
    found = lines(kept)
    assert [line["bytes"] for line in found] == [size for _, size in out]
    assert [line["seq"] for line in found] == [1, 2, 3]
    assert [bool(line["digest"]) for line in found] == [False, True, True]
    assert {tuple(row["to"]) for row in ledger(kept)} == {("collector",)}


def test_lines_are_kept_after_an_hour_or_when_there_are_many(kept: Kept) -> None:
    """Until then they cost the card nothing; an orderly end keeps them too."""
    kept.agree("climate")
    send(kept)
    kept.turn()
    assert [row["entry"] for row in ledger(kept)] == [0]
    kept.system.tick(SPAN)
    kept.turn()
    assert all(row["entry"] for row in ledger(kept))
    for _ in range(LINES):
        send(kept)
    kept.turn()
    assert len([row for row in ledger(kept) if row["entry"]]) == 2
    send(kept)
    kept.reboot()
    assert [line["seq"] for line in lines(kept)] == list(range(1, LINES + 4))


def test_power_that_goes_takes_no_line_away(kept: Kept) -> None:
    """What could not be written is written by the next start, from the queue; the digest is gone with the key."""
    kept.agree("climate")
    send(kept)
    assert kept.store is not None
    kept.store.close()  # no orderly end
    kept.built = kept.store = None
    kept.start()
    found = lines(kept)
    assert [(line["seq"], line["digest"]) for line in found] == [(1, ""), (2, "")]
    kept.reboot()
    assert lines(kept) == found


def test_the_queue_lets_go_of_nothing_that_has_no_line(kept: Kept) -> None:
    """An acknowledgement that deletes a segment keeps the lines first."""
    kept.agree("climate")
    send(kept)
    kept.reboot()
    boot = kept.house.outbox.mine.boot - 1
    assert all(row["entry"] for row in ledger(kept))
    send(kept)
    published(kept)
    kept.house.outbox.acknowledge(ack(kept, boot, 2))
    assert all(row["entry"] for row in ledger(kept))
    assert len(lines(kept)) == 4


def test_lines_wait_for_a_disk_that_takes_nothing(kept: Kept) -> None:
    """They are kept when it takes them again; beyond a bound the oldest are counted, and that is said."""
    book = kept.house.outbox.ledger
    full = Full(kept.house.books.store)
    book.store = full
    kept.agree("climate")
    send(kept)
    kept.system.tick(SPAN)
    kept.turn()
    assert full.refused == 1
    kept.turn()
    assert full.refused == 1, "not at every turn"
    rows = [Row(boot=9, seq=n, body=b"") for n in range(1, MOST + 1)]
    book.note("climate", ["collector"], rows, [b""] * MOST)
    assert (book.count, book.lost) == (MOST, 2)
    full.takes = True
    kept.system.tick(AGAIN)
    kept.turn()
    assert book.count == 0
    kept_rows = [row for row in ledger(kept) if row["purpose"] == "climate"]
    assert sum(row["lost"] for row in kept_rows) == 2
    assert sum(len(row["lines"]) for row in kept_rows) == MOST


def test_the_export_holds_everything_and_no_secret(kept: Kept) -> None:
    """Consents with their notices, the policy, what waits, the journal in pages; no new password is in it."""
    kept.agree("climate")
    send(kept)
    parts = {name: kept.ask("export", part=name) for name in ("consents", "policy", "telemetry")}
    entries: list[dict[str, Any]] = []
    while page := kept.ask("export", part="journal", after=entries[-1]["seq"] if entries else 0)["entries"]:
        entries.extend(page)
    assert kept.store is not None
    assert [entry["seq"] for entry in entries] == list(range(1, kept.store.head.count + 1))
    states = {row["purpose"]["id"]: row["state"] for row in parts["consents"]["rows"]}
    assert states == {"climate": "given", "warnings": "never_asked"}
    assert parts["telemetry"]["rows"][0]["sealed_records_waiting"] == 2
    whole = json.dumps([parts, entries])
    secrets = [kept.store.get(key) for key in kept.store.keys("credential/")]
    assert secrets
    for secret in secrets:
        text = secret.decode() if isinstance(secret, bytes) else str(secret)
        assert text not in whole
    assert kept.ask("export", part="policy")["policy"]["baseline"]["ssh.password"] == "no"
    with pytest.raises(BadInput):
        kept.ask("export", part="passwords")


def test_the_journal_shows_its_latest_entries(kept: Kept) -> None:
    """Also when there are more than are shown at once."""
    assert kept.store is not None
    kept.store.put({}, [("note", {"n": n}) for n in range(1300)])
    shown = kept.ask("journal")["entries"]
    assert len(shown) == 200
    assert shown[-1]["seq"] == kept.store.head.count
    assert [row["seq"] for row in kept.ask("journal", since=10)["entries"]][:2] == [11, 12]
