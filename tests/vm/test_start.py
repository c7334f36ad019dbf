"""The package on a whole machine: first boot to its end, an ordinary start, and how long they take."""

from pathlib import Path

from tests.vm.figures import tell
from tests.vm.guest import Guest
from tests.vm.qemu import Machine
from tests.vm.saved import Saved

GUARD, EARLY = "privet-guard.service", "privet-early.service"


def test_first_boot_makes_it_private(held: Saved, tmp_path: Path):
    """From before its first boot the machine comes to be private by itself; the factory password opens nothing."""
    with held.resume(tmp_path / "disk") as machine:
        guest = Guest(machine)
        assert guest.opens("pi", "raspberry")  # the fault to be cured is there
        guest.release()
        took = guest.until_active(GUARD)
        assert not guest.opens("pi", "raspberry")
        statuses = guest.statuses()
        assert len(statuses) >= 28 and set(statuses.values()) <= {"ok", "absent"}, statuses
        tell(f"first boot, from before the first unit to an active guard: {took:.1f} s emulated")


def test_ordinary_start(settled: Saved, tmp_path: Path):
    """The disk of a settled machine starts from cold; the guard is active, and everything still private."""
    disk = settled.copy(tmp_path / "disk")
    with Machine("pc", settled.disk.start, disk, form="qcow2") as cold:
        guest = Guest(cold)
        guest.until_active(GUARD)
        closed, active = guest.stamp(EARLY), guest.stamp(GUARD)
        assert 0 < closed < guest.stamp("systemd-networkd.service", "InactiveExit"), "closed before the network"
        pss = guest.memory(GUARD)
        tell(f"kernel to closed {closed:.1f} s, to active {active:.1f} s emulated; guard's PSS {pss / 1e6:.1f} MB")
        assert set(guest.statuses().values()) <= {"ok", "absent"}, guest.statuses()
