"""The package on a whole machine: first boot to its end, an ordinary start, and how long they take."""

from pathlib import Path

from tests.vm.guest import Guest
from tests.vm.qemu import Machine
from tests.vm.saved import Saved

GUARD = "privet-guard.service"


def test_first_boot_makes_it_private(held: Saved, tmp_path: Path):
    """From before its first boot the machine comes to be private by itself; the factory password opens nothing."""
    machine, _ = held.resume(tmp_path)
    with machine:
        guest = Guest(machine)
        assert guest.opens("pi", "raspberry")  # the fault to be cured is there
        guest.release()
        took = guest.until_active(GUARD)
        assert not guest.opens("pi", "raspberry")
        statuses = guest.statuses()
        assert len(statuses) >= 28 and set(statuses.values()) <= {"ok", "absent"}, statuses
        print(f"first boot, from before the first unit to an active guard: {took:.1f} s emulated")


def test_ordinary_start(settled: Saved, tmp_path: Path):
    """The disk of a settled machine starts from cold; the guard is active, and everything still private."""
    machine, disk = settled.resume(tmp_path)
    machine.close()
    with Machine("pc", settled.disk.start, disk, form="qcow2") as cold:
        guest = Guest(cold)
        guest.until_active(GUARD)
        stamps = guest.properties(GUARD, "InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        begun, active = (int(stamps[name]) / 1e6 for name in sorted(stamps, reverse=True))
        pss = guest.memory(GUARD)
        print(f"kernel to guard started {begun:.1f} s, to active {active:.1f} s emulated; PSS {pss / 1e6:.1f} MB")
        assert set(guest.statuses().values()) <= {"ok", "absent"}, guest.statuses()
