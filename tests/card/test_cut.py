"""Power cut at every single write: a card is never startable and yet not whole; and the next run goes on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.errors import Failed
from provisioning.card import mark
from provisioning.card.base import Base
from provisioning.card.flash import Job
from provisioning.card.progress import Progress
from provisioning.card.targets import faulty
from provisioning.card.targets.file import FileTarget
from provisioning.card.targets.target import BLOCK, MIB, Room, Target, flush, write_all
from tests.card import rig

Write = Callable[[Target, Base, bytes], object]


def cuts(write: Write, path: Path, base: Base, kept: int, step: int = 1) -> list[tuple[int, bytes]]:
    """Flash a used card again and again, each time with the power cut one write later; return what was left on it."""
    found = []
    for at in range(1, 1000, step):
        target = FileTarget(rig.used_card(path, rig.SMALL_CARD), 0, create=False)
        cut = faulty.Cut(target, at, kept)
        try:
            write(cut, base, rig.seed())
        except faulty.PowerCut:
            assert cut.fired == 1
            found.append((at, path.read_bytes()))
        else:
            assert not cut.fired
            return found
        finally:
            target.close()
    raise AssertionError("it never ended")


def halves(states: list[tuple[int, bytes]], image: Path) -> list[int]:
    """Return at which writes a cut left a card that starts, and is neither as it was before nor whole."""
    seedless = image.read_bytes()[rig.SMALL_SLOT.offset :][: rig.SMALL_SLOT.size]
    whole = {wanted(image, slot) for slot in (seedless, rig.seed(), torn(seedless))}
    before = rig.boot_record() + rig.OLD
    return [at for at, left in states if rig.startable(left) and left not in whole and not left.startswith(before)]


def wanted(image: Path, slot: bytes) -> bytes:
    """Return what a whole small card holds."""
    return rig.wanted(image, slot, rig.SMALL_CARD, rig.SMALL_SLOT)


def torn(seedless: bytes) -> bytes:
    """Return a slot of which the first half was written."""
    return rig.seed()[:4096] + seedless[4096:]


@pytest.mark.parametrize(("kept", "step"), [(1, 1), (0, 3), (2, 3)])
def test_a_cut_at_any_write_never_leaves_half_a_card(kept: int, step: int, place: Path, small: Base, small_image: Path):
    """Also when the card wrote only the latest of what it had in its cache, not what came before."""
    states = cuts(rig.flash, place / "card", small, kept, step)
    assert len(states) > 50 // step
    assert step > 1 or any(rig.startable(left) for _, left in states)  # the cuts went on to the very end
    assert halves(states, small_image) == []


def block_first(target: Target, base: Base, slot: bytes) -> None:
    """Write as dd does: from block 0 on."""
    room = Room()
    for piece in base.pieces:
        base.read(piece.offset, room.view[: piece.length])
        write_all(target, piece.offset, room.view[: piece.length])
        flush(target)


def test_writing_block_0_first_leaves_half_cards(place: Path, small: Base, small_image: Path):
    """The known-bad twin: cuts of a writer that begins at block 0 leave cards that start, and are half."""
    assert halves(cuts(block_first, place / "card", small, 1), small_image)


def test_without_flushes_the_order_is_worth_nothing(place: Path, small: Base, small_image: Path):
    """The other twin: block 0 may reach the card before the rest when nothing makes it wait."""

    def careless(target: Target, base: Base, slot: bytes) -> None:
        room = Room()
        for piece in (*base.pieces[1:], base.pieces[0]):
            base.read(piece.offset, room.view[: piece.length])
            write_all(target, piece.offset, room.view[: piece.length])

    assert halves(cuts(careless, place / "card", small, 1), small_image)


def test_after_any_cut_the_next_run_makes_a_whole_card(place: Path, small: Base, small_image: Path):
    """Whatever was left, flashing again ends in exactly the image and the seed."""
    for at in range(1, writes(place / "card", small), 6):
        target = FileTarget(rig.used_card(place / "card", rig.SMALL_CARD), 0, create=False)
        cut = faulty.Cut(target, at, 1)
        with pytest.raises(faulty.PowerCut):
            rig.flash(cut, small, rig.seed())
        rig.flash(target, small, rig.seed())
        target.close()
        assert (place / "card").read_bytes() == wanted(small_image, rig.seed())


def writes(path: Path, base: Base) -> int:
    """Count the writes that a whole card takes."""
    target = FileTarget(rig.used_card(path, rig.SMALL_CARD), 0, create=False)
    cut = faulty.Cut(target, 1 << 30, 0)
    rig.flash(cut, base, rig.seed())
    target.close()
    return cut.count


def unfinished(path: Path, base: Base) -> FileTarget:
    """Make a card whose run was cut off when the image had been written, before it was read back."""
    count = writes(path, base)
    target = FileTarget(rig.used_card(path, rig.SMALL_CARD), 0, create=False)
    with pytest.raises(faulty.PowerCut):
        rig.flash(faulty.Cut(target, count - 3, 0), base, rig.seed())
    assert mark.found(target, Room()) is not None
    return target


def test_an_interrupted_run_is_gone_on_with(place: Path, small: Base, small_image: Path):
    """A run that was stopped after it had erased the card is not begun anew: nothing is probed or erased again."""
    target = unfinished(place / "card", small)
    progress = rig.flash(target, small, rig.seed())
    assert "erase" not in progress.seconds
    assert (place / "card").read_bytes() == wanted(small_image, rig.seed())
    target.close()


def test_what_an_earlier_run_left_is_not_believed(place: Path, small: Base, small_image: Path):
    """A mark that claims more than is there costs a run that begins anew, never a bad card."""
    target = unfinished(place / "card", small)
    write_all(target, 2 * MIB, memoryview(rig.OLD * 100))
    found = mark.found(target, Room())
    assert found is not None
    mark.put(target, Room(), found._replace(written=small.size))
    progress = rig.flash(target, small, rig.seed())
    assert "erase" in progress.seconds
    assert (place / "card").read_bytes() == wanted(small_image, rig.seed())
    target.close()


def test_a_run_that_is_told_to_stop_stops(place: Path, small: Base):
    """Ctrl-C ends a card's writing between two chunks, and what is left says that it is unfinished."""
    target = FileTarget(rig.used_card(place / "card", rig.SMALL_CARD), 0, create=False)
    progress = Progress()
    job = Job(target, small, rig.seed(), progress)
    job.stop.set()
    with pytest.raises(Failed, match="unfinished"):
        job.run()
    assert not rig.startable(target_bytes(target))
    target.close()


def target_bytes(target: FileTarget) -> bytes:
    """Return what is on a card."""
    return Path(target.name).read_bytes()


def test_a_mark_is_no_boot_record_and_its_damage_shows():
    """Firmware finds nothing in it, and a flipped bit makes it nothing at all."""
    made = mark.encode(mark.Mark("ab" * 32, 1 << 31, 77))
    assert len(made) == BLOCK
    assert not rig.startable(made)
    assert mark.decode(made) == mark.Mark("ab" * 32, 1 << 31, 77)
    assert mark.decode(made.replace(b"77", b"78")) is None
    assert mark.decode(os.urandom(BLOCK)) is None
