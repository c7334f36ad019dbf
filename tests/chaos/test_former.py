"""A reset to private does not take back what the owner before asked others to delete: they are asked all the same."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.core.errors import BadInput
from agent.guard import glass
from agent.guard.pair import HOME
from agent.system.store import Store
from provisioning.fleet.identity import Fleet
from tests.chaos.test_deletions import Asking, fleet

__all__ = ["fleet"]


@pytest.fixture
def asking(tmp_path: Path, fleet: Fleet) -> Iterator[Asking]:
    """A device whose owner took consent back from both recipients while there was no link."""
    made = Asking(tmp_path, fleet)
    made.arrive("18", "19")
    made.say("withdrawn")
    yield made
    made.kept.stop()


def erase(asking: Asking) -> dict[str, object]:
    """Erase as the command does: what goes is shown first."""
    told = asking.kept.ask("erase")
    return {**told, **asking.kept.ask("erase", seen=told["seen"])}


def reset(asking: Asking) -> None:
    """Have the reset begun by a recovery file with the right code."""
    glass.keep(asking.kept.system, glass.ASKED, {"state": "asked"})


def begun_anew(asking: Asking, device: str = "") -> None:
    """Start the device as `run.build` puts it together after a reset; `device`: by a seed with another name."""
    kept = asking.kept
    kept.stop()
    kept.system.reboot()
    glass.start_over(kept.system, kept.start_store)
    os.unlink(kept.folder / "state.db")  # it lies outside of the simulated disk
    store = kept.start_store()
    glass.resume(kept.system, store)
    store.close()
    if device:
        path = "/etc/privet/device.cbor"
        kept.system.edit(path, kept.system.read(path).replace(b"fdevicebd1", b"fdeviceb" + device.encode()), mode=0o600)
    kept.start()
    kept.turn()


def rows(asking: Asking) -> list[str]:
    """Return what is remembered of requests."""
    assert isinstance(asking.kept.store, Store)
    return sorted(asking.kept.store.keys("deletion/"))


@pytest.mark.parametrize("signed", [False, True], ids=["never signed before", "signed and sent before, in vain"])
def test_a_recovery_file_does_not_take_a_request_back(asking: Asking, signed: bool):
    """After the reset both are asked, delete and confirm; then nothing of the former owner is remembered any more."""
    if signed:
        assert len(asking.turn(asking.connect())) == 2
    reset(asking)
    begun_anew(asking)
    assert asking.kept.house.books.consents == {}
    standing = asking.kept.ask("status")["deletions"]
    assert [(row["recipient"], row["former"]) for row in standing] == [("collector", True), ("maker", True)]
    assert asking.deletion("maker") is None, "the new owner has asked nobody"
    assert asking.kept.ask("export", part="consents")["deletions"] == []
    sent = asking.turn(asking.connect())
    assert len(sent) == 2
    answers = asking.deliver(sent, asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == ([], [])
    assert asking.kept.ask("status")["deletions"] == [] and rows(asking) == []
    for payload in answers:
        asking.kept.house.heard(["received", "ack", payload])
    assert asking.entries("refused") == [], "a receipt that comes twice is no forgery"
    assert all("receipt" not in entry for entry in asking.entries("deletion_confirmed"))
    asking.kept.reboot()
    assert asking.turn(asking.connect()) == []
    assert asking.kept.store is not None and asking.kept.store.verify().damage == ""


def test_what_the_next_owner_sends_is_not_reached(asking: Asking):
    """The new owner agrees before the request has arrived: their readings are taken, and stay."""
    reset(asking)
    begun_anew(asking)
    asking.say("given")
    asking.measure("20")
    asking.talk(asking.home, asking.maker)
    sent = asking.turn(asking.connect())
    asking.deliver(sent, asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == (["20"], ["20"])


def test_the_next_owner_takes_back_before_anything_was_sealed(asking: Asking):
    """Their request would have no proof; the one of before has, reaches as far, and is kept."""
    reset(asking)
    begun_anew(asking)
    asking.say("given")
    asking.say("withdrawn")
    asking.deliver(asking.turn(asking.connect()), asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == ([], [])
    assert rows(asking) == []


def test_the_owner_who_erases_is_told_and_it_goes_out_at_once(asking: Asking):
    """Named before and on the receipt; with a link both are asked in this start, though the key is gone then."""
    out = asking.connect()
    told = erase(asking)
    assert "Climate" in str(told["asked"]) or "climate" in str(told["asked"])
    assert "ask them yourself" in str(told["asked"])
    receipt = bytes.fromhex(str(told["receipt"]))
    assert b"unanswered" in receipt and b"maker" in receipt and b"collector" in receipt
    assert asking.kept.system.entries(HOME) in ((), ("next",))
    sent = asking.turn(out)
    assert len(sent) == 2
    asking.kept.system.tick(60)
    assert asking.turn(out) == sent, "asked again while the link is there"
    asking.deliver(sent, asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == ([], [])
    begun_anew(asking)
    assert rows(asking) == []


def test_erased_without_a_link_they_are_asked_once_the_fleet_lets_the_device_in_again(asking: Asking):
    """Nothing is sent without a certificate; with the next one under the same name it is signed anew and followed."""
    erase(asking)
    begun_anew(asking)
    assert asking.turn(asking.connect()) == []
    assert len(rows(asking)) == 2
    asking.certify()
    asking.kept.system.tick(301)
    asking.deliver(asking.turn(asking.connect()), asking.home, asking.maker)
    assert (asking.home.read(), asking.maker.read()) == ([], [])
    assert rows(asking) == []


def test_under_another_name_nothing_of_the_former_owner_stays(asking: Asking):
    """No recipient would heed it; so it is let go of, and the journal says that much."""
    erase(asking)
    begun_anew(asking, device="e2")
    assert asking.kept.house.rules.anchor.identity.device == "e2"
    assert rows(asking) == [] and asking.kept.ask("status")["deletions"] == []
    assert [entry["recipient"] for entry in asking.entries("deletion_void")] == ["collector", "maker"]


def test_nothing_open_nothing_is_said_or_carried(asking: Asking):
    """Confirmed requests go with the rest; the command says nothing about them."""
    asking.deliver(asking.turn(asking.connect()), asking.home, asking.maker)
    before = asking.kept.ask("erase")
    assert before["asked"] == ""
    erase(asking)
    begun_anew(asking)
    assert rows(asking) == []


def test_what_was_shown_must_be_what_is_open(asking: Asking):
    """Confirmed between showing and agreeing: it is shown again, for the owner would note down the wrong ones."""
    told = asking.kept.ask("erase")
    asking.deliver(asking.turn(asking.connect()), asking.home, asking.maker)
    with pytest.raises(BadInput, match="was not shown"):
        asking.kept.ask("erase", seen=told["seen"])


def test_a_store_that_cannot_be_read_gives_nothing(asking: Asking):
    """The known-bad twin: where the former state cannot be opened, the requests are lost and nobody is asked."""
    reset(asking)
    asking.kept.stop()
    path = asking.kept.folder / "state.db"
    path.write_bytes(path.read_bytes()[:100] + b"?" * 4000)
    begun_anew(asking)
    assert asking.turn(asking.connect()) == []
    assert asking.home.read() == ["18", "19"]
