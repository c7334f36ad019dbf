"""Flashing a card: all of it is there, nothing of before is, and every way in which a card fails is caught."""

import errno
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.core.errors import BadCard, CardGone, Failed, PrivetError, Refused, WrongDisk
from provisioning.card.base import Base
from provisioning.card.flash import Job
from provisioning.card.progress import Progress
from provisioning.card.targets import faulty
from provisioning.card.targets.faulty import Faulty
from provisioning.card.targets.file import FileTarget
from provisioning.card.targets.target import MIB, Target
from tests.card import rig


def content(target: Target) -> bytes:
    """Return all that a card holds."""
    return Path(target.name).read_bytes()


def test_a_used_card_becomes_exactly_the_image_and_its_seed(card: FileTarget, base: Base, image: Path):
    """Every byte is that of the image, the slot is this card's own, and nothing of the previous owner is left."""
    assert rig.OLD in content(card)
    progress = rig.flash(card, base, rig.seed())
    assert content(card) == rig.wanted(image, rig.seed())
    assert set(progress.seconds) >= {"probe", "erase", "write", "read back"}


def test_what_holds_nothing_is_not_written(card: FileTarget, base: Base):
    """The image's zeros cost no writing: only what holds something is sent to the card."""

    class Counts(Faulty):
        def write(self, offset: int, view: memoryview) -> int:
            self.fired += len(view)
            return super().write(offset, view)

    counts = Counts(card)
    rig.flash(counts, base, rig.seed())
    assert base.filled <= counts.fired < base.filled + 2 * MIB < base.size


def test_a_reader_that_knows_no_discard_gets_zeros(card: FileTarget, base: Base, image: Path):
    """Where a card cannot be told to forget, all that the image does not fill is overwritten."""
    deaf = faulty.Deaf(card)
    rig.flash(deaf, base, rig.seed())
    assert deaf.fired
    assert content(card) == rig.wanted(image, rig.seed())


def test_a_new_card_needs_no_zeros_behind_the_image(place: Path, base: Base, image: Path):
    """In a reader without discard, a card that is blank all over is left so; a person's word alone is not enough."""
    path = place / "new"
    path.write_bytes(rig.used_card(path, 4 * MIB).read_bytes() + b"\xff" * (rig.CARD - 4 * MIB))
    target = FileTarget(path, 0, create=False)
    Job(faulty.Deaf(target), base, rig.seed(), Progress(), new=True).run()
    content = path.read_bytes()
    assert content[: rig.IMAGE] == rig.wanted(image, rig.seed())[: rig.IMAGE]
    assert content[rig.IMAGE :].count(b"\xff") > (rig.CARD - rig.IMAGE) * 9 // 10
    target.close()
    used = FileTarget(rig.used_card(path), 0, create=False)
    with pytest.raises(WrongDisk, match="no new card"):
        Job(faulty.Deaf(used), base, rig.seed(), Progress(), new=True).run()
    assert path.read_bytes().startswith(rig.boot_record() + rig.OLD)
    used.close()


@pytest.mark.parametrize("where", [(4 * MIB, 5 * MIB), (12 * MIB, 24 * MIB)], ids=["within", "beyond"])
def test_a_card_that_only_says_it_forgot_is_overwritten(
    where: tuple[int, int], card: FileTarget, base: Base, image: Path
):
    """Whether a discard did anything is looked at, in the image's range and beyond it."""
    keeps = faulty.KeepsOld(card, *where)
    rig.flash(keeps, base, rig.seed())
    assert keeps.fired
    assert content(card) == rig.wanted(image, rig.seed())


def test_short_writes_are_gone_on_with(card: FileTarget, base: Base, image: Path):
    """A write that the system did in part is finished."""
    short = faulty.ShortWrites(card, 65536)
    rig.flash(short, base, rig.seed())
    assert short.fired
    assert content(card) == rig.wanted(image, rig.seed())


def other(target: FileTarget) -> FileTarget:
    """Put another card beside a card."""
    path = Path(target.name).with_name("other")
    return FileTarget(rig.used_card(path), 0, create=False)


Make = Callable[[FileTarget], Faulty]
FAULTS: dict[str, tuple[Make, type[PrivetError]]] = {
    "drops a write within": (lambda card: faulty.DropsWrites(card, 3 * MIB + 65536, 3 * MIB + 131072), BadCard),
    "drops the slot": (lambda card: faulty.DropsWrites(card, rig.SLOT.offset + 4096, rig.SLOT.offset + 4097), BadCard),
    "drops block 0": (lambda card: faulty.DropsWrites(card, 0, 1), BadCard),
    "drops what lies far behind": (lambda card: faulty.DropsWrites(card, 20 * MIB, 24 * MIB), BadCard),
    "flips a bit": (lambda card: faulty.FlipsBit(card, 5 * MIB + 77), BadCard),
    "flips a bit of the slot": (lambda card: faulty.FlipsBit(card, rig.SLOT.offset + 5000), BadCard),
    "flips a bit of block 0": (lambda card: faulty.FlipsBit(card, 440), BadCard),
    "wraps at 16 of 64 MiB": (lambda card: faulty.Wraps(cut(card, 16 * MIB), 64 * MIB), BadCard),
    "drops beyond 20 of 64 MiB": (lambda card: faulty.Limbo(cut(card, 20 * MIB), 64 * MIB), BadCard),
    "drops, and hides it in its cache": (
        lambda card: faulty.Remembers(cut(card, 20 * MIB), 64 * MIB, 2 * MIB),
        BadCard,
    ),
    "fails in writing": (lambda card: faulty.Fails(card, errno.EIO, 60), BadCard),
    "fails in reading": (lambda card: faulty.Fails(card, errno.EIO, 100, "read"), BadCard),
    "fails in flushing": (lambda card: faulty.Fails(card, errno.EIO, 7, "flush"), BadCard),
    "vanishes": (lambda card: faulty.Fails(card, errno.ENODEV, 60), CardGone),
    "vanishes in reading back": (lambda card: faulty.Fails(card, errno.ENXIO, 100, "read"), CardGone),
    "has no room": (lambda card: faulty.Fails(card, errno.ENOSPC, 60), Failed),
    "is swapped": (lambda card: faulty.Swapped(card, other(card), 95), PrivetError),
}


def cut(card: FileTarget, size: int) -> FileTarget:
    """Make a card as small as it really is."""
    card.size = size
    return card


@pytest.mark.parametrize(("make", "error"), FAULTS.values(), ids=FAULTS)
def test_every_fault_is_caught(make: Make, error: type[PrivetError], card: FileTarget, base: Base):
    """Whatever a card does wrong is told, in one sentence that names the card, and the card starts nothing."""
    bad = make(card)
    with pytest.raises(error) as told:
        rig.flash(bad, base, rig.seed())
    assert bad.fired
    assert Path(card.name).name in str(told.value) and "\n" not in str(told.value)
    assert not rig.startable(content(card)) or "flips a bit of block 0" in str(make)


SILENT = [name for name in FAULTS if "flips" in name or "within" in name or "the slot" in name or "block 0" in name]


@pytest.mark.parametrize("name", SILENT)
def test_without_reading_back_a_silent_fault_passes(name: str, card: FileTarget, base: Base, image: Path):
    """The known-bad twin: a writer that does not read back calls these cards good, and they are not."""
    bad = FAULTS[name][0](card)
    rig.flash(bad, base, rig.seed(), read_back=False)
    assert bad.fired
    assert content(card) != rig.wanted(image, rig.seed())


def test_a_swap_is_noticed_before_the_seed_is_given_away(card: FileTarget, base: Base):
    """Whenever the cards are exchanged, the other one never gets the seed and never becomes startable by us."""
    twin = faulty.Swapped(card, other(card), 1 << 30)
    rig.flash(twin, base, rig.seed())
    calls = twin.count
    for after in range(1, calls, 31):
        rig.used_card(Path(card.name))
        stranger = other(card)
        swapped = faulty.Swapped(card, stranger, after)
        with pytest.raises(PrivetError):
            rig.flash(swapped, base, rig.seed())
        assert swapped.fired
        assert rig.seed()[:512] not in content(stranger)
        stranger.close()


class SwappedLate(faulty.Swapped):
    """Is exchanged in the instant between block 0 and the seed."""

    def _now(self) -> Target:
        self.count = 0
        return self.other if self.fired else self.card

    def read(self, offset: int, view: memoryview) -> int:
        """Let block 0 be read back, and be gone."""
        count = super().read(offset, view)
        if offset == 0 and rig.startable(bytes(view[:512])) and self.flushed:
            self.fired += 1
            self.card = self.other
        return count

    flushed = False

    def write(self, offset: int, view: memoryview) -> int:
        """Notice that block 0 is written."""
        self.flushed = self.flushed or (offset == 0 and rig.startable(bytes(view[:512])))
        return super().write(offset, view)


def test_a_swap_right_before_the_seed_gives_nothing_away(card: FileTarget, base: Base):
    """The last moment: the other card is not given the seed, and stays as it was."""
    stranger = other(card)
    before = content(stranger)
    late = SwappedLate(card, stranger, 1 << 30)
    with pytest.raises(CardGone):
        rig.flash(late, base, rig.seed())
    assert late.fired
    assert content(stranger) == before
    stranger.close()


def test_a_card_that_is_too_small_is_refused_untouched(place: Path, base: Base):
    """The size is looked at before anything is written."""
    small = FileTarget(rig.used_card(place / "small", 8 * MIB), 0, create=False)
    before = content(small)
    with closing(small), pytest.raises(Refused):
        rig.flash(small, base)
    assert content(small) == before
