"""Many cards at once, and a station: each card by itself, no seed twice, nobody waits for a slow one."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import BadCard, Missing
from agent.core.slot import SIZE
from provisioning.card.base import Base
from provisioning.card.seeds import Seeds
from provisioning.card.targets import faulty
from provisioning.card.targets.file import FileTarget
from provisioning.card.targets.target import MIB, Seen, Target
from provisioning.card.worker import Worker
from tests.card import rig


@pytest.fixture
def batch(place: Path) -> Path:
    """Give a batch of four."""
    folder = place / "batch"
    folder.mkdir()
    for letter in "abcd":
        (folder / f"d-{letter}.slot").write_bytes(letter.encode() * SIZE)
    return folder


def card(place: Path, number: int) -> Callable[[], Target]:
    """Return how a used card is opened."""
    path = rig.used_card(place / f"card{number}")
    return lambda: FileTarget(path, 0, create=False)


def run(workers: list[Worker]) -> None:
    """Let all work at one time."""
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        worker.let_go()


def slots(place: Path) -> list[bytes]:
    """Return the slots of all cards."""
    return [path.read_bytes()[rig.SLOT.offset :][:SIZE] for path in sorted(place.glob("card*"))]


def test_cards_at_one_time_get_one_image_and_each_its_own_seed(place: Path, batch: Path, base: Base):
    """Four cards from one image; every slot is another, and the batch is used up."""
    with Seeds(batch) as seeds:
        stop = threading.Event()
        workers = [Worker(f"card{n}", "", card(place, n), base, seeds, stop) for n in range(4)]
        run(workers)
        assert [worker.error for worker in workers] == [None] * 4
        assert sorted(slots(place)) == [letter * SIZE for letter in (b"a", b"b", b"c", b"d")]
        assert (seeds.left(), seeds.aside()) == (0, [])
        extra = Worker("card4", "", card(place, 4), base, seeds, stop)
        run([extra])
        assert isinstance(extra.error, Missing)
    assert not list(batch.glob("*.slot"))


class Waits(faulty.Faulty):
    """Is so slow that it waits for all others to be done."""

    def __init__(self, target: Target, others: Callable[[], bool], turn: threading.Event) -> None:
        super().__init__(target)
        self.others, self.turn = others, turn

    def write(self, offset: int, view: memoryview) -> int:
        """Take its time, right in the middle of the image."""
        if offset >= 2 * MIB and not self.fired and len(view) > 65536:
            self.fired += self.turn.wait(60)
        return super().write(offset, view)


def test_a_slow_card_keeps_nobody_waiting(place: Path, base: Base):
    """A card that stands still in the midst of its image lets all others be done; then it ends well itself."""
    turn, stop = threading.Event(), threading.Event()
    quick = [Worker(f"card{n}", "", card(place, n), base, None, stop) for n in range(3)]
    slow = Waits(card(place, 9)(), lambda: False, turn)
    late = Worker("card9", "", lambda: slow, base, None, stop)
    late.start()
    run(quick)
    assert [worker.state for worker in quick] == ["done"] * 3
    assert late.running() and not slow.fired
    turn.set()
    run_out(late)
    assert slow.fired and late.state == "done"


def run_out(worker: Worker) -> None:
    """Wait for one that was started."""
    worker.join()
    worker.let_go()


def test_a_bad_card_keeps_its_seed_and_troubles_no_other(place: Path, batch: Path, base: Base):
    """A card that fails before it got its seed gives it back; after that no other card gets the seed."""
    stop = threading.Event()
    early = faulty.DropsWrites(card(place, 1)(), 3 * MIB + 65536, 3 * MIB + 70000)
    late = faulty.FlipsBit(card(place, 2)(), rig.SLOT.offset + 4097)
    late.place = -1
    with Seeds(batch) as seeds:
        first = Worker("card1", "", lambda: early, base, seeds, stop)
        run([first])
        assert isinstance(first.error, BadCard) and early.fired
        assert (seeds.left(), first.device) == (4, "")
        second = Worker("card2", "", lambda: Spoils(late), base, seeds, stop)
        run([second])
        assert isinstance(second.error, BadCard) and late.fired
        assert (seeds.left(), seeds.aside()) == (3, ["d-a"])
        third = Worker("card3", "", card(place, 3), base, seeds, stop)
        run([third])
        assert third.device == "d-b"


class Spoils(faulty.Faulty):
    """Spoils the slot at the second time that it is written, which is when it gets its seed."""

    def __init__(self, target: faulty.FlipsBit) -> None:
        super().__init__(target)
        self.flips = target

    def write(self, offset: int, view: memoryview) -> int:
        """Count what goes to the slot."""
        if offset == rig.SLOT.offset and len(view) == SIZE:
            self.fired += 1
            self.flips.place = rig.SLOT.offset + 4097 if self.fired > 1 else -1
        return super().write(offset, view)


class Numbered(faulty.Faulty):
    """A card that tells its own number."""

    def seen(self) -> Seen:
        """Tell it."""
        return self.card.seen()._replace(serial="0353445347", own=True)


def test_a_run_that_died_goes_on_with_the_same_card_and_seed(place: Path, batch: Path, base: Base):
    """The power fails while the seed is written: the card gets that very seed at the next run."""
    path = rig.used_card(place / "card1")
    with Seeds(batch) as seeds:
        cut = Died(Numbered(FileTarget(path, 0, create=False)))
        worker = Worker("card1", "", lambda: cut, base, seeds, threading.Event())
        with pytest.raises(faulty.PowerCut):
            worker._flash(cut, "0353445347")
        assert cut.fired
    with Seeds(batch) as seeds:
        again = Worker("card1", "", lambda: Numbered(FileTarget(path, 0, create=False)), base, seeds, threading.Event())
        run([again])
        assert (again.device, again.error) == ("d-a", None)


class Died(faulty.Faulty):
    """Loses its power when it is given its seed."""

    def write(self, offset: int, view: memoryview) -> int:
        """Die at the seed."""
        if offset == rig.SLOT.offset and bytes(view[:1]) == b"a":
            self.fired += 1
            raise faulty.PowerCut
        return super().write(offset, view)


def facts(worker: Worker) -> dict[str, Any]:
    """Return what programs are told."""
    return worker.facts()


def test_what_came_of_a_card_is_told_to_programs(place: Path, base: Base):
    """Stages with their seconds; an error with its code."""
    good = Worker("card1", "1-4", card(place, 1), base, None, threading.Event())
    bad = Worker(
        "card2", "1-5", lambda: faulty.Limbo(rig.shrunk(card(place, 2)()), 64 * MIB), base, None, threading.Event()
    )
    run([good, bad])
    assert facts(good)["state"] == "done" and set(facts(good)["stages"]) >= {"probe", "erase", "write", "read back"}
    assert (facts(bad)["state"], facts(bad)["code"]) == ("failed", 31)
