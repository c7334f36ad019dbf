"""A dishonest broker: it reads every message, holds back any, and makes up what it likes. Nothing is let go by it.

It knows the recipient's public key (policies pass through it), every topic and every number; it has no ack key.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core import cbor, cose
from agent.system import sealing
from provisioning.collector.store import Store
from tests.chaos.pair import DEVICE, FLEET, Pair
from tests.collector.device import CONSENT, HOME


class Believing(Store):
    """The known-bad twin of the collector's store: it does not ask who made a key record."""

    def bind(self, place: object, mark: bytes) -> bool:
        """Believe whoever comes."""
        return True

    def advance(self, place: object) -> int:
        """Believe every gap."""
        self.base.link.execute("UPDATE gap SET mark = x''")
        return super().advance(place)  # type: ignore[arg-type]

    def newest_epoch(self, place: object) -> int:
        """Answer with the first ack key that came."""
        return 1


def forge(boot: int, epoch: int, plains: list[tuple[int, bytes]]) -> list[bytes]:
    """Make up an epoch and records in it."""
    stream = cose.Stream(fleet=FLEET, device=DEVICE, purpose="comfort", boot=boot, epoch=epoch)
    made = sealing.new_epoch(stream, [HOME], told={"home": CONSENT})
    bodies = sealing.seal_records(made.key, stream, plains)
    rows = zip([seq for seq, _ in plains], bodies, strict=True)
    return [cose.message(boot, epoch, made.body), *(cose.message(boot, seq, body) for seq, body in rows)]


def filler(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """Put a made-up epoch 6 and filler in the place of the genuine records 6 to 12; genuine epoch 13 comes through."""
    empty = cbor.encode([])
    return [*sent[:5], *forge(1, 6, [(seq, empty) for seq in range(7, 13)]), *sent[12:]]


def far_gap(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """Let record 1 through, and give the others up in a made-up epoch far ahead in the same start."""
    return [sent[0], *forge(1, 900, [(901, cose.gap_plain(1, 2, 1, len(sent), 1))])]


def foreign_gap(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """Let record 1 through, and give the others up in a made-up start."""
    return [sent[0], *forge(77, 1, [(2, cose.gap_plain(1, 2, 1, len(sent), 1))])]


def early_gap(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """The same, with the made-up start first."""
    first, *made_up = foreign_gap(pair, sent)
    return [*made_up, first]


def moved_key(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """Put the genuine key record of epoch 6 in the place of record 3."""
    body = sent[5][len(cose.message(1, 6, b"")) :]
    return [*sent[:2], cose.message(1, 3, body), *sent[3:5]]


def first_come(pair: Pair, sent: list[bytes]) -> list[bytes]:
    """Be there before the device: a made-up beginning of its start, then what is genuine."""
    return [*forge(1, 1, [(seq, cbor.encode([])) for seq in range(2, 40)]), *sent]


ATTACKS = [filler, far_gap, foreign_gap, early_gap, moved_key, first_come]


def attacked(folder: Path, attack: Callable[[Pair, list[bytes]], list[bytes]], twin: bool = False) -> Pair:
    """Run one attack on a device with three epochs (1, 6, 13); all answers are delivered."""
    pair = Pair(folder)
    if twin:
        pair.collector.store.close()
        pair.collector.store = Believing(folder / "believing.db")
    for count in (4, 6, 5):
        pair.new_epoch()
        pair.measure(count)
    sent = [payload for _, payload in pair.send(99)]
    assert [cbor.decode(sent[n])[3][:2] for n in (0, 5, 12)] == [["key", 1], ["key", 6], ["key", 13]]
    for payload in attack(pair, sent):
        pair.answer(pair.give([payload]))
    return pair


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_let_go_that_did_not_come(tmp_path: Path, attack: Callable[[Pair, list[bytes]], list[bytes]]):
    """Whatever the broker makes up, each reading is at the collector or still on the device."""
    pair = attacked(tmp_path, attack)
    kept = {row.seq for row in pair.lane.queue.pending(limit=99)}
    for number, (_, seq) in pair.places.items():
        assert seq in kept or number in pair.read()
    assert len(kept) >= len(pair.places) - len(pair.read())


@pytest.mark.parametrize("attack", [filler, far_gap, foreign_gap])
def test_the_twin_is_fooled(tmp_path: Path, attack: Callable[[Pair, list[bytes]], list[bytes]]):
    """The known-bad twin, a collector that believes any sender, makes the device forget."""
    pair = attacked(tmp_path, attack, twin=True)
    kept = {row.seq for row in pair.lane.queue.pending(limit=99)}
    gone = {n for n, (_, seq) in pair.places.items() if seq not in kept} - pair.read()
    assert gone


@pytest.mark.parametrize("attack", [filler, far_gap, foreign_gap, early_gap, moved_key])
def test_an_honest_broker_afterwards_brings_all(tmp_path: Path, attack: Callable[[Pair, list[bytes]], list[bytes]]):
    """What an attack has left behind does not stop the genuine records once they come through."""
    pair = attacked(tmp_path, attack)
    pair.lane.rewind()
    pair.drain(60)
    assert not pair.waiting
    assert pair.read() == set(pair.places)


def test_two_senders_in_one_start_are_told(tmp_path: Path):
    """The operator hears of it."""
    pair = attacked(tmp_path, filler)
    assert "two senders" in " ".join(pair.said)
    assert pair.collector.tally.forked == 1


def test_one_ack_key_through_all_starts(tmp_path: Path):
    """A restart goes on with the ack key, so gaps about the start before are believed; a new public key ends it."""
    pair = Pair(tmp_path)
    pair.measure(1)
    pair.restart()
    pair.measure(1)
    table = pair.store.get("acks/comfort")
    assert table[1] == table[2]
    other = bytes(HOME[1][:1184]) + bytes(31) + b"\x09"
    pair.lane.move(pair.lane.mine.__class__(fleet=FLEET, device=DEVICE, boot=3), pair.lane.purpose, [("home", other)])
    pair.lane.keep([], [("warning", "text", 5)], 0)
    assert pair.store.get("acks/comfort")[3]["home"][0] != table[2]["home"][0]
