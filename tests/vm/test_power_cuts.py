"""Power cuts at random instants of first boot and of a loosening: never locked out, never open."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.boot.lab import Booted
from tests.vm.cuts import (
    CUTS,
    FACTORY,
    first_boot_verdict,
    instants,
    look,
    loosening_verdict,
    mounted,
    photographs,
    second_start,
)
from tests.vm.disk import Disk
from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.qemu import Machine
from tests.vm.saved import MARKER, Saved

LATE = 1.05  # the last instants lie behind the end
EATMYDATA = "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libeatmydata.so\n"
LOOSEN = ("privet", "loosen", "ssh.password", "yes", "--for", "2h", "--reason", "test", "--yes")
Verdict = Callable[[dict[str, Any]], str]


def judged(copies: list[tuple[str, Path]], verdict: Verdict, again: bool) -> tuple[Counter[str], list[str]]:
    """Look at each disk, and start a device from it again when asked to; return the verdicts and what was wrong."""
    counts: Counter[str] = Counter()
    wrong = []
    for name, copy in copies:
        with mounted(copy) as place, Booted([place], "again") as device:
            found = verdict(look(device))
            counts[found] += 1
            if again:
                wrong += [f"{name} ({found}): {sentence}" for sentence in second_start(device)]
    tell(f"{len(copies)} cuts: {dict(counts)}")
    for sentence in wrong:
        tell(f"  {sentence}")
    return counts, wrong


def bad(counts: Counter[str]) -> int:
    """Count the verdicts that must not be."""
    good = {"old, still shut in", "new, known to the owner", "strict", "loose, with leave"}
    return sum(number for name, number in counts.items() if name not in good)


def first_boot_cuts(held: Saved, settled: Saved, disk: Path, name: str, count: int, prepare: str = "") -> list:
    """Cut the power at random instants of one first boot, by a kill at last; return the disks."""
    when = instants(name, settled.first_boot * LATE, count - 1)
    with held.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        assert guest.opens("pi", FACTORY)
        if prepare:
            guest.write("/run/systemd/system/privet-firstboot.service.d/twin.conf", prepare)
            guest.must(["systemctl", "daemon-reload"])
        guest.release()
        copies = list(photographs(machine, disk, when))
        machine.cut()
    return [*copies, ("kill at the end", disk)]


def test_first_boot(held: Saved, settled: Saved, tmp_path: Path):
    """Power goes at random instants of first boot: old and shut in, or new and known; the next start finishes it."""
    begun = time.monotonic()
    copies = first_boot_cuts(held, settled, tmp_path / "disk", "first boot", CUTS)
    counts, wrong = judged(copies, first_boot_verdict, again=True)
    tell(f"{CUTS} cuts of first boot in {time.monotonic() - begun:.0f} s")
    assert counts["old, still shut in"] and counts["new, known to the owner"], "the instants miss what they are for"
    assert (bad(counts), wrong) == (0, [])


def test_twin_first_boot_that_flushes_nothing(held: Saved, settled: Saved, tmp_path: Path):
    """Known bad: the same first boot with every fsync left out locks the owner out, or forgets, at some instants."""
    copies = first_boot_cuts(held, settled, tmp_path / "disk", "twin of first boot", max(CUTS // 3, 4), EATMYDATA)
    counts, _ = judged(copies, first_boot_verdict, again=False)
    assert bad(counts) >= 2, counts


def test_loosening(settled: Saved, tmp_path: Path):
    """Power goes at random instants while a setting is loosened and set back: strict, or loose with leave."""
    begun, disk = time.monotonic(), tmp_path / "disk"
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        spent = machine.processor_seconds()
        guest.must(LOOSEN)
        guest.must(["privet", "tighten", "ssh.password"])
        length = machine.processor_seconds() - spent
    when = instants("loosening", length, CUTS - 1)
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        both = f"({' '.join(LOOSEN)} && privet tighten ssh.password) >/run/said 2>&1 & true"
        guest.must(["sh", "-c", both])
        copies = list(photographs(machine, disk, when))
        machine.cut()
    counts, wrong = judged([*copies, ("kill at the end", disk)], loosening_verdict, again=True)
    tell(f"{CUTS} cuts of a loosening in {time.monotonic() - begun:.0f} s")
    assert counts["strict"] and counts["loose, with leave"], "the instants miss what they are for"
    assert (bad(counts), wrong) == (0, [])


def test_cold_start_after_a_cut(disk: Disk, held: Saved, settled: Saved, tmp_path: Path):
    """A machine killed within its first boot starts again from cold, and comes to be private by itself."""
    file = tmp_path / "disk"
    when = instants("cold start", settled.first_boot, 1)
    with held.resume(file) as machine:
        guest = Guest(machine)
        guest.set_clock()
        guest.release()
        for _, copy in photographs(machine, file, when):
            copy.unlink()
        machine.cut()
    with Machine("pc", disk.start, file, form="qcow2") as cold:
        guest = Guest(cold)
        guest.until_active("privet-guard.service")
        assert guest.run(["test", "-e", MARKER]).returncode == 0
        assert not guest.opens("pi", FACTORY)
        assert guest.privet("journal", "--verify").returncode == 0
