"""Cards on real block devices: written by the command, past the page cache, with real faults of a real kernel."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import CardGone
from agent.core.slot import SIZE
from provisioning.card.targets.opening import named_disk, opened
from provisioning.card.targets.rules import Wanted
from provisioning.fleet.identity import Fleet
from provisioning.fleet.registry import Registry
from tests.card import pi, rig
from tests.fleet.site.lab import CARD, MIB, ask, card, slot_place, waiver, whole
from tests.fleet.site.loops import Loops
from tests.house import ROOT


def test_two_cards_from_one_image(made: Path, readers: Loops, tmp_path: Path):
    """Refused while somebody's content is on them; named in a waiver, both become the image and their own seed."""
    one, two = card(readers, "one"), card(readers, "two")
    batch = pi.batch(tmp_path / "batch", Fleet.open(made / "fleet"), 2)
    seeds = {path.read_bytes() for path in batch.iterdir()}
    words = (made / "privet.img", one.name, two.name, "--batch", batch)
    before = one.path.read_bytes()
    code, lines = ask(made, "flash", *words)
    assert code == 30 and "it holds" in lines[-1]["error"] and f"--waive {one.name}={CARD}" in lines[-1]["error"]
    assert one.path.read_bytes() == before
    code, lines = ask(made, "flash", *words, *waiver(one), *waiver(two))
    assert code == 0, lines
    for loop in (one, two):
        content = loop.path.read_bytes()
        mine = content[slot_place(made) :][:SIZE]
        assert mine in seeds and content == whole(made, mine)
        seeds.discard(mine)
        assert loop.path.stat().st_blocks * 512 < 16 * MIB  # the discard reached what is behind the device
    assert not list(batch.glob("*.slot"))


def test_a_card_tells_of_itself_gets_another_seed_and_is_wiped(made: Path, readers: Loops, tmp_path: Path):
    """`card` names the device and never the token; `inject` changes the slot alone; `wipe` leaves nothing."""
    loop, batch = card(readers, "one"), pi.batch(tmp_path / "batch", Fleet.open(made / "fleet"), 2)
    assert ask(made, "flash", made / "privet.img", loop.name, "--batch", batch, *waiver(loop))[0] == 0
    code, lines = ask(made, "card", loop.name)
    assert code == 0 and (lines[0]["kind"], lines[0]["state"]) == ("pi", "seed")
    assert [half["device"] for half in lines[0]["halves"]] == ["d-0000"] * 2
    assert pi.token("d-0000").hex() not in json.dumps(lines)
    code, lines = ask(made, "inject", loop.name, "--batch", batch)
    assert code == 0 and (lines[0]["device"], lines[0]["before"]) == ("d-0001", "seed")
    content = loop.path.read_bytes()
    assert content == whole(made, content[slot_place(made) :][:SIZE])
    assert pi.token("d-0001") in content and pi.token("d-0000") not in content
    assert ask(made, "wipe", loop.name, "--dry-run")[0] == 0
    assert loop.path.read_bytes() == content
    assert ask(made, "wipe", loop.name)[0] == 0
    assert not any(loop.path.read_bytes())
    assert ask(made, "card", loop.name)[1][0]["kind"] == "blank"
    assert ask(made, "inject", loop.name, "--batch", batch)[0] == 66


def test_from_the_batch_to_the_registry(made: Path, readers: Loops):
    """Planned by `batch create`, named by its number, flashed, and read back by the word of registry and ledger."""
    code, lines = ask(made, "batch", "create", "--count", "2", "--enrol", "enrol.example:8444")
    assert code == 0, lines
    number, names = lines[0]["batch"], set(lines[0]["devices"])
    loop = card(readers, "one")
    code, lines = ask(made, "flash", made / "privet.img", loop.name, "--batch", str(number), *waiver(loop))
    assert code == 0, lines
    device = lines[-1]["cards"][0]["device"]
    told = ask(made, "card", loop.name)[1][0]
    assert device in names and [half["device"] for half in told["halves"]] == [device] * 2
    registry = Registry(Fleet.open(made / "fleet"))
    states = {name: registry.shown(name)[0].state for name in names}
    events = [row.event for row in registry.shown(device)[2]]
    registry.verify()
    registry.close()
    assert states == {device: "verified", (names - {device}).pop(): "planned"}
    assert events == ["flash", "verify"]


def test_what_is_in_use_is_refused(made: Path, readers: Loops, tmp_path: Path):
    """A card that is mounted, and one that another program holds: refused, and not a byte is changed."""
    path = readers.folder / "one"
    with path.open("wb") as file:
        file.truncate(CARD)
    pi.run("mke2fs", "-q", "-F", "-t", "ext4", path)
    loop = readers.insert(path)
    words = (made / "privet.img", loop.name, *waiver(loop))
    point = tmp_path / "here"
    point.mkdir()
    pi.run("mount", "-o", "ro,noload", loop.node, point)
    try:
        before = path.read_bytes()
        code, lines = ask(made, "flash", *words)
        assert code == 30 and f"it is mounted at {point}" in lines[-1]["error"]
        listed = ask(made, "targets")[1][0]["disks"]
        mine = next(disk for disk in listed if disk["disk"] == loop.name)
        assert (
            not mine["accepted"]
            and f"it is mounted at {point}; unmount it" in mine["reasons"]
            and mine["waiver"] is None
        )
    finally:
        pi.run("umount", point)
    holder = os.open(loop.node, os.O_RDONLY | os.O_EXCL)
    try:
        code, lines = ask(made, "flash", *words)
        assert code == 77 and "in use" in lines[-1]["error"]
    finally:
        os.close(holder)
    assert path.read_bytes() == before
    assert ask(made, "flash", *words)[0] == 0  # the twin: nothing else was in the way


def test_a_card_that_was_exchanged_is_noticed_by_the_kernel_s_count(readers: Loops):
    """Between look and opening another file of the same size is attached: refused, and it is not touched."""
    loop = card(readers, "one", readers.own())
    disk = named_disk(loop.name)
    want = Wanted(waivers=frozenset({(loop.name, CARD)}))
    opened(disk, want, named=True).close()  # the twin: the same card opens
    loop.detach()
    other = card(readers, "two", loop.name)
    assert named_disk(loop.name).sequence != disk.sequence
    before = other.path.read_bytes()
    with pytest.raises(CardGone):
        opened(disk, want, named=True)
    assert other.path.read_bytes() == before


def test_a_disk_without_room_is_told(made: Path, readers: Loops, tmp_path: Path):
    """The file behind the device lies on a file system that is full: a real error of the kernel, one sentence."""
    small = tmp_path / "small"
    small.mkdir()
    pi.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
    try:
        with (small / "card").open("wb") as file:
            file.truncate(CARD)
        loop = readers.insert(small / "card")
        code, lines = ask(made, "flash", made / "privet.img", loop.name)
        assert code in {31, 70} and loop.name in lines[-1]["error"] and "\n" not in lines[-1]["error"]
        with loop.node.open("rb") as file:
            assert not rig.startable(file.read(512))
        loop.detach()
    finally:
        pi.run("umount", small)


def test_a_killed_writer_leaves_no_startable_half(made: Path, readers: Loops):
    """SIGKILL at writes all over the run, on a real device: nothing startable that is not whole; then it goes on."""
    loop = card(readers, "one")
    killed = [
        sys.executable,
        "-m",
        "tests.fleet.site.killed",
        str(made / "privet.img"),
        str(slot_place(made)),
        loop.name,
    ]
    fired = resumed = 0
    rig.used_card(loop.path, CARD)
    total = int(subprocess.run((*killed, "0"), cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1])
    for at in (1, 45, *range(total - 4, total + 1)):
        rig.used_card(loop.path, CARD)
        done = subprocess.run((*killed, str(at)), cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr
        fired += 1
        content = loop.path.read_bytes()
        old = content.startswith(rig.boot_record() + rig.OLD)
        mine = content[slot_place(made) :][:SIZE]
        assert old or not rig.startable(content) or content == whole(made, mine)
        again = subprocess.run((*killed, "0"), cwd=ROOT, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        resumed += "erase" not in again.stdout
        content = loop.path.read_bytes()
        assert content == whole(made, content[slot_place(made) :][:SIZE])
    assert fired == 7 and resumed > 0


def test_the_kernel_forgets_the_partitions_of_before(made: Path, readers: Loops):
    """A partition that programs could still open after its disk was wiped is gone."""
    loop = readers.insert(rig.used_card(readers.folder / "one", CARD), scan=True)
    part = Path("/sys/block") / loop.name / f"{loop.name}p1"
    if not part.exists():  # a kernel that reads no boot records is told of it
        pi.run("partx", "--add", loop.node)
    assert part.exists()
    assert ask(made, "wipe", loop.name, *waiver(loop))[0] == 0
    assert not part.exists()
