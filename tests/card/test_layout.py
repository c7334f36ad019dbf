"""What is known of images: a row each, in which every fact counts; an image that differs in one is not of it."""

from pathlib import Path

import pytest

from agent.core.errors import BadInput, Failed
from agent.core.record import replace
from provisioning.card.bootfs import Bootfs
from provisioning.card.build import build
from provisioning.card.disk import Disk, Ext, Fat, Partition, look
from provisioning.card.layout import FACTS, Layout, differences, known
from tests.card import making


def fitting(one: Layout) -> tuple[Disk, list[str], str]:
    """Return a disk, its mounts and its words as a layout says."""
    disk = Disk(
        path=Path("x"), size=1 << 30, signature="0badcafe",
        boot=Partition(number=1, kind=one.boot_type, start=one.starts[-1], length=1 << 29),
        root=Partition(number=2, kind=one.root_type, start=1 << 30, length=1 << 30),
        fat=Fat(label=one.boot_label, bits=one.fat_bits, cluster=one.clusters[0], first=1 << 23, table=1 << 23),
        ext=Ext(label=one.root_label, block=4096, free=1, inodes=1),
    )  # fmt: skip
    words = " ".join(word for word in one.words if word != "root=PARTUUID=")
    return disk, [one.mount], f"console=tty1 root=PARTUUID=0badcafe-02 {words}"


@pytest.mark.parametrize("one", known()[0], ids=lambda one: one.name)
def test_every_fact_of_a_layout_counts(one: Layout):
    """An image that is as the row says differs in nothing; changed in one fact it differs in that one, by its words."""
    disk, mounts, words = fitting(one)
    assert differences(one, disk, mounts, words) == []
    changed = [
        replace(disk, boot=replace(disk.boot, start=disk.boot.start + 512)),
        replace(disk, boot=replace(disk.boot, kind=0x0B)),
        replace(disk, root=replace(disk.root, kind=0x8E)),
        replace(disk, fat=replace(disk.fat, label="BOOT")),
        replace(disk, fat=replace(disk.fat, bits=16)),
        replace(disk, fat=replace(disk.fat, cluster=disk.fat.cluster * 2)),
        replace(disk, ext=replace(disk.ext, label="root")),
        replace(disk, signature="00000000"),
    ]
    told = [differences(one, other, mounts, words) for other in changed]
    assert [len(wrong) for wrong in told] == [1] * len(changed) and len({wrong[0] for wrong in told}) == len(changed)
    assert len(differences(one, disk, ["/boot"], words)) == 1
    for word in one.words:
        assert differences(one, disk, mounts, words.replace(word, "x"))
    for word in one.absent:
        assert differences(one, disk, mounts, f"{words} {word}/sbin/x")


def test_no_two_layouts_are_one():
    """A name stands for one layout, and no two rows can be taken for each other by release and maker alone."""
    rows = known()[0]
    assert len({one.name for one in rows}) == len(rows) == len({(one.codename, one.raspberry) for one in rows})
    assert {one.name for one in rows} == set(making.CODENAMES), "a new layout needs an image in making.py"
    assert FACTS.read_text().count("[[layout]]") == len(rows)


def test_a_full_boot_partition_is_told(bench, asked, place):
    """Where no slot fits any more, mtools' failure becomes one sentence, and nothing is left."""
    empty = look(bench.base)
    room = empty.boot.length - (empty.fat.first - empty.boot.start)
    base = making.image(place / "b.img", bench.tree, boot_files={"big.bin": bytes(room - 8192)})
    assert "big.bin" in Bootfs(look(base), 1).names()
    with pytest.raises(Failed, match="mcopy ended with 1"):
        build(asked(base=base), bench.fleet.signing_key())
    assert not list(asked().output.parent.iterdir())


@pytest.mark.parametrize("line", ["", "x" * 99, "dtparam=\u202ex", "a\nb"])
def test_a_line_that_the_firmware_would_not_read_is_refused(line, bench, asked):
    """Empty, long, foreign and doubled lines are no lines of config.txt."""
    with pytest.raises(BadInput, match=r"is no line of config\.txt"):
        build(asked(lines=(line,)), bench.fleet.signing_key())


def test_the_slot_begins_on_a_block_wherever_the_free_space_begins(bench, place):
    """Whatever was written before it, the slot begins at a multiple of 4096 in one piece, and no filler is left."""
    gaps = set()
    for count in range(1, 9):
        files = {f"f{number}": b"x" for number in range(count)}
        base = making.image(place / f"b{count}.img", bench.tree, boot_files=files)
        boot = Bootfs(look(base), 1)
        boot.put("next", b"x")
        gaps.add(boot.place("next") % 4096)
        assert boot.lay_slot() % 4096 == 0
        assert boot.names() == tuple(sorted(["cmdline.txt", "config.txt", "next", "privet.slot", *files]))
        boot.check()
    assert len(gaps) == 8, "the free space did not begin at every cluster of a block"
