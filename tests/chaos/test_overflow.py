"""A receiver that is away for long, a queue that overflows again and again, and then the receiver comes back."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from agent.core.cose import Received
from agent.core.errors import Failed, PrivetError
from agent.core.record import replace
from agent.guard.gaps import Gaps, joined
from agent.guard.lane import START, WINDOW, Lane
from agent.system.queue import Place
from agent.system.segment import Lost, Row
from provisioning.collector.receive import Collector
from provisioning.collector.store import Store
from tests.chaos.pair import FLEET, TOPIC, Pair
from tests.collector.device import KEY

SMALL = 40_000  # bytes of queue: some two hundred and fifty records
LARGE = 100_000  # more than two windows


class Unremembered(Gaps):
    """The known-bad twin of the gaps: what was told once is not told again."""

    def to_tell(self, fresh: Sequence[Lost]) -> tuple[Lost, ...]:
        """Tell what is lost now."""
        return joined(fresh)

    def note(self, first: Place, told: Sequence[Lost], fresh: Sequence[Lost]) -> None:
        """Remember nothing."""


class OnceTold(Lane):
    """The known-bad twin of the lane: a gap whose record is lost is forgotten."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.gaps = Unremembered(self.store, self.purpose.id, self.queue)


class Rewinding(Lane):
    """The known-bad twin of the lane: when nothing is released, it begins again with the oldest, and never goes on."""

    def insist(self, uptime: int) -> None:
        """Begin again."""
        self.rewind()
        self.heard = uptime

    def acknowledged(self, ack: Received, uptime: int) -> bool:
        """Count only what releases."""
        flying, before = self.flying, dict(self.released)
        believed = super().acknowledged(ack, uptime)
        if before == self.released:
            self.flying = flying
        return believed


class PowerCut(Exception):
    """The power goes."""


def exact(pair: Pair) -> None:
    """Assert that everything is released, and that each reading came or is in a gap; record by record, none twice."""
    store = pair.collector.store
    assert not pair.waiting
    assert store.holes() == ()
    read, accepted = pair.read(), set(pair.places)
    assert len(read) == len(list(pair.collector.readings()))
    assert read <= accepted
    assert accepted - read == pair.owned_up() - read
    records = len(list(store.records(0, None)))
    missing = sum(store.missing(pair.place(boot)) for boot in range(1, pair.boot + 1))
    assert records + missing == sum(pair.last.values())
    assert missing >= len(accepted - read) > 0


def away(pair: Pair, seconds: int) -> None:
    """Let the device send to a broker that loses all of it."""
    for _ in range(seconds):
        pair.uptime += 1
        pair.send()


def overflow(pair: Pair) -> None:
    """Overflow three times, across three starts and whole epochs; the receiver has only seen the beginning."""
    pair.measure(30)
    pair.answer(pair.give([payload for _, payload in pair.send()][:10]))
    for turn in range(3):
        for _ in range(4):
            pair.measure(150)
            pair.new_epoch()
            away(pair, 3)
        if turn < 2:
            pair.restart()


@pytest.mark.parametrize("limit", [SMALL, LARGE])
def test_all_is_released_and_accounted_for(tmp_path: Path, limit: int):
    """Whatever was dropped, gaps about gaps and key records included, the receiver goes on; all is accounted for."""
    pair = Pair(tmp_path, limit)
    overflow(pair)
    assert pair.lane.dropped > 0
    assert pair.drain(600) < 120
    exact(pair)


def test_without_memory_of_gaps_it_stalls(tmp_path: Path):
    """The known-bad twin is stuck for good."""
    pair = Pair(tmp_path, SMALL, OnceTold)
    overflow(pair)
    pair.drain(300)
    assert pair.waiting


@pytest.mark.parametrize("kind", [Lane, Rewinding])
def test_the_gap_at_the_end_of_the_queue_is_reached(tmp_path: Path, kind: type[Lane]):
    """One start, overflown before anybody listened: the last record is the first that matters; the twin is stuck."""
    pair = Pair(tmp_path, LARGE, kind)
    pair.measure(1200)
    assert pair.lane.dropped > 0
    assert pair.lane.queue.count > 2 * WINDOW
    seconds = pair.drain(300)
    assert pair.waiting is (kind is Rewinding)
    if not pair.waiting:
        assert seconds < 30
        exact(pair)


def test_it_works_while_the_receiver_is_there_too(tmp_path: Path):
    """The queue goes on overflowing while the receiver reads; in the end all is accounted for."""
    pair = Pair(tmp_path, SMALL)
    overflow(pair)
    for _ in range(20):
        pair.measure(40)
        pair.uptime += 1
        pair.answer(pair.give(payload for _, payload in pair.send()))
    pair.drain(600)
    exact(pair)


@pytest.mark.parametrize("kept", [False, True])
def test_a_power_cut_between_memory_and_queue(tmp_path: Path, kept: bool):
    """The gap is remembered and its record is not there, or is there and the old ones are too: both come right."""
    pair = Pair(tmp_path, SMALL)
    overflow(pair)
    append, fired = pair.lane.queue.append, []

    def cut(rows: Sequence[Row], opening: bool = False) -> None:
        told = pair.store.get("gaps/comfort")
        if any((boot, seq) == (rows[0].boot, row.seq) for boot, seq, *_ in told for row in rows):
            fired.append(rows[-1].seq)
            if kept:
                append(rows, opening)
            raise PowerCut
        append(rows, opening)

    pair.lane.queue.append = cut  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        pair.measure(200)
    assert fired
    if kept:  # the reading is on the disk, though nobody was told
        pair.places[len(pair.places)] = (pair.boot, fired[0])
        pair.last[pair.boot] = fired[0]
    pair.restart()
    pair.measure(500)
    pair.drain(600)
    exact(pair)


def test_a_disk_that_refuses_in_between(tmp_path: Path):
    """Batches that could not be kept, while gaps are told, become gaps of their own."""
    pair = Pair(tmp_path, SMALL)
    overflow(pair)
    append = pair.lane.queue.append
    refused = 0
    for turn in range(60):
        if turn % 3 == 0:
            pair.lane.queue.append = refuse  # type: ignore[method-assign]
            with pytest.raises(PrivetError):
                pair.measure(1)
            refused += 1
            pair.last[pair.boot] = pair.lane.seq
        pair.lane.queue.append = append  # type: ignore[method-assign]
        pair.measure(5)
    pair.drain(600)
    exact(pair)
    assert refused == 20


def refuse(rows: object, opening: bool = False) -> None:
    """Fail as a full disk does."""
    raise Failed("the disk is full; free some space")


def test_few_gaps_are_remembered(tmp_path: Path):
    """As many as there are starts, however often the queue overflows; none when all is released."""
    pair = Pair(tmp_path, SMALL)
    overflow(pair)
    pair.measure(1500)
    assert 0 < len(pair.store.get("gaps/comfort")) <= 2 * pair.boot
    assert 0 < len(pair.lane.gaps) <= pair.boot
    pair.drain(600)
    assert len(pair.lane.gaps) == 0


def test_silence_costs_little(tmp_path: Path):
    """With nobody there, a window of new and a window of old records go out each time patience ends, and no more."""
    pair = Pair(tmp_path, LARGE)
    pair.measure(600)
    sent = 0
    for _ in range(3000):
        pair.uptime += 1
        for _ in range(30):
            sent += len(pair.send())
    patiences = 6 + 3000 // 300
    assert sent <= WINDOW * 2 * (patiences + 1)
    assert pair.lane.front == (1, pair.lane.seq)  # for all that, nothing is left unsent
    assert pair.lane.queue.pending(START, 1)


def test_one_recipient_away_does_not_starve_the_other(tmp_path: Path):
    """The one that is there gets new readings at once, the other one all of them when it is back."""
    pair = Pair(tmp_path)
    pair.lane.keys = [*pair.lane.keys, ("maker", pair.lane.keys[0][1])]
    pair.lane.purpose = replace(pair.lane.purpose, recipients=("home", "maker"))
    for turn in range(1, 15):
        pair.measure(40)
        pair.drain(3)
        assert len(pair.read()) == turn * 40
    assert pair.waiting
    maker = Collector(FLEET, "maker", KEY, Store(tmp_path / "maker.db"), print)
    home, both = pair.give, []

    def give(payloads: Iterable[bytes]) -> list[bytes]:
        sent = list(payloads)
        both.extend(sent)
        return [*home(sent), *(answer for _, answer in maker.receive([(TOPIC, payload) for payload in sent]))]

    pair.give = give  # type: ignore[method-assign]
    assert pair.drain(400) < 350
    assert not pair.waiting
    assert {int(reading.value) for reading in maker.readings()} == set(pair.places)
    assert len(both) < 4 * len(pair.places)
