"""Power cuts at random instants of first boot and of a loosening: never locked out, never open."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.boot.lab import Booted
from tests.vm.cuts import (
    CUTS,
    FACTORY,
    STARTS,
    first_boot_verdict,
    instants,
    look,
    loosening_verdict,
    mounted,
    photographs,
    second_start,
    until_spent,
)
from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.saved import MARKER, Saved

LATE = 1.05  # the last instants lie behind the end
OLD, DONE = "old, still shut in", "kill when it was done"
EATMYDATA = "[Service]\nEnvironment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libeatmydata.so\n"
LOOSEN = ("privet", "loosen", "ssh.password", "yes", "--for", "2h", "--reason", "test", "--yes")
TIGHTEN = ("privet", "tighten", "ssh.password")
Verdict = Callable[[dict[str, Any]], str]


def judged(copies: list[tuple[str, Path]], verdict: Verdict, starts: int) -> tuple[Counter[str], list[str]]:
    """Look at each disk, and start a device from some of them; return the verdicts and what was wrong."""
    counts: Counter[str] = Counter()
    wrong, started = [], 0
    for number, (name, copy) in enumerate(copies, 1):
        with mounted(copy) as place, Booted([place], "again") as device:
            seen = look(device)
            found = verdict(seen)
            if (name, found) == (DONE, OLD):
                found = "forgotten: first boot was done, and the factory password is back"
            counts[found] += 1
            if started < starts * number // len(copies):  # spread evenly; the last one, a real kill, is among them
                started += 1
                sentences = second_start(device)
                wrong += [f"{name} ({found}): {sentence}" for sentence in sentences]
    tell(f"{len(copies)} cuts, {started} started again: {dict(counts)}")
    for sentence in wrong:
        tell(f"  {sentence}")
    return counts, wrong


def differ(one: Path, other: Path) -> bool:
    """Say whether two disks hold different things; a machine may be running on one of them."""
    argv = ["qemu-img", "compare", "-q", "-U", str(one), str(other)]
    code = subprocess.run(argv, check=False).returncode
    assert code in {0, 1}
    return code == 1


def bad(counts: Counter[str]) -> int:
    """Count the verdicts that must not be."""
    good = {OLD, "new, known to the owner", "strict", "loose, with leave", "loose, leave ended"}
    return sum(number for name, number in counts.items() if name not in good)


def first_boot_cuts(held: Saved, length: float, disk: Path, name: str, count: int, prepare: str = "") -> list:
    """Cut the power at its beginning, at random instants of one first boot, and by a kill when it is done."""
    when = [0.0, *instants(name, length, count - 2)]
    with held.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        assert guest.opens("pi", FACTORY)
        if prepare:
            guest.write("/run/systemd/system/privet-firstboot.service.d/twin.conf", prepare)
            guest.must(["systemctl", "daemon-reload"])
            # The kernel is in no hurry by itself, nor is the file system, which would write all within five seconds.
            guest.must(["sysctl", "-q", "vm.dirty_expire_centisecs=60000"])
            guest.must(["mount", "-o", "remount,commit=600,noauto_da_alloc", "/"])
        guest.release()
        copies = list(photographs(machine, disk, when))
        guest.await_path(MARKER)
        machine.cut()
    return [*copies, (DONE, disk)]


def test_first_boot(held: Saved, settled: Saved, tmp_path: Path):
    """Power goes at random instants of first boot: old and shut in, or new and known; the next start finishes it."""
    begun = time.monotonic()
    copies = first_boot_cuts(held, settled.first_boot * LATE, tmp_path / "disk", "first boot", CUTS)
    counts, wrong = judged(copies, first_boot_verdict, min(STARTS, CUTS))
    tell(f"{CUTS} cuts of first boot in {time.monotonic() - begun:.0f} s")
    assert counts[OLD] and counts["new, known to the owner"], "the instants miss what they are for"
    assert (bad(counts), wrong) == (0, [])


def test_twin_first_boot_that_flushes_nothing(held: Saved, settled: Saved, tmp_path: Path):
    """Known bad: the same first boot with every fsync left out locks the owner out, or forgets that it was done."""
    length, count = settled.first_boot * LATE, max(CUTS // 2, 16)
    copies = first_boot_cuts(held, length, tmp_path / "disk", "twin of first boot", count, EATMYDATA)
    counts, _ = judged(copies, first_boot_verdict, 0)
    assert bad(counts) >= 1, counts


def cuts_of(guest: Guest, disk: Path, argv: tuple[str, ...], when: list[float], name: str) -> list[tuple[str, Path]]:
    """Cut the power before a command, at each instant while it runs, and after it is done."""
    done = f"/run/{name}"
    guest.must(["sh", "-c", f"({' '.join(argv)} >/run/said 2>&1; touch {done}) & true"])
    copies = list(photographs(guest.machine, disk, [0.0, *when], name))
    guest.await_path(done)
    return [*copies, *photographs(guest.machine, disk, [0.0], f"{name} done")]


def test_loosening(settled: Saved, tmp_path: Path):
    """Power goes while a setting is loosened and set back: on the disk it is strict, or loose with leave or just after.

    Only the disk is judged. What the next start makes of it is not shown here.
    """
    begun, disk = time.monotonic(), tmp_path / "disk"
    lengths = []
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        for argv in (LOOSEN, TIGHTEN):
            spent = machine.processor_seconds()
            guest.must(argv)
            lengths.append(machine.processor_seconds() - spent)
    half = (CUTS - 4) // 2
    with settled.resume(disk) as machine:
        guest = Guest(machine)
        guest.set_clock()
        copies = cuts_of(guest, disk, LOOSEN, instants("loosening", lengths[0], CUTS - 4 - half), "loosening")
        copies += cuts_of(guest, disk, TIGHTEN, instants("tightening", lengths[1], half), "tightening")
        machine.cut()
    counts, _ = judged([*copies, ("kill at the end", disk)], loosening_verdict, 0)
    tell(f"{len(copies) + 1} cuts of a loosening in {time.monotonic() - begun:.0f} s")
    assert counts["strict"] and counts["loose, with leave"], "the instants miss what they are for"
    assert bad(counts) == 0, counts


def test_a_copy_is_what_a_kill_leaves(settled: Saved, tmp_path: Path):
    """The disk of a machine killed at random instants of a loosening is its frozen copy; it was written to before."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    before = settled.copy(tmp_path / "before")
    for instant in instants("kill", 4.0, 3):
        with settled.resume(disk) as machine:
            Guest(machine).must(["sh", "-c", f"{' '.join(LOOSEN)} >/run/said 2>&1 & true"])
            machine.until(lambda: differ(disk, before), "the first write of the loosening")
            until_spent(machine, machine.processor_seconds() + instant)
            machine.freeze(disk, copy, signal.SIGKILL)
            machine.process.wait()
        assert (differ(copy, disk), differ(before, disk)) == (False, True)
