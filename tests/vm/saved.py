"""Machines saved at an instant, to go on from there in seconds: any number of times, each with a disk of its own.

A saved machine is a clone by nature: what must differ between devices is not shown on these.
"""

import fcntl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.vm.disk import Disk
from tests.vm.guest import Guest
from tests.vm.qemu import Machine, Start

MARKER = "/var/lib/privet/provisioned"


def overlay(path: Path, base: Path, form: str = "raw") -> Path:
    """Make a disk that begins as another one, and keeps beside it only what is written."""
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", form, str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path


@dataclass(frozen=True)
class Saved:
    """One saved machine: its state, and the disk that belongs to that instant."""

    name: str
    disk: Disk
    start: Start

    @property
    def state(self) -> Path:
        """All of the machine but its disk."""
        return self.disk.folder / f"{self.name}.state"

    @property
    def first_boot(self) -> float:
        """How long its first boot took, in seconds of its own processors: load hardly stretches those."""
        return float((self.disk.folder / "first-boot").read_text(encoding="ascii"))

    @property
    def delta(self) -> Path:
        """What the machine had written to its disk."""
        return self.disk.folder / f"{self.name}.qcow2"

    def resume(self, path: Path) -> Machine:
        """Go on from the instant, on a copy of the disk at `path`."""
        return Machine("pc", self.start, self.copy(path), form="qcow2", state=self.state)

    def copy(self, path: Path) -> Path:
        """Copy the disk as it was at the instant."""
        subprocess.run(["cp", "--reflink=auto", str(self.delta), str(path)], check=True)
        # The cache may have been restored at another place.
        rebase = ["qemu-img", "rebase", "-u", "-b", str(self.disk.file), "-F", "raw", str(path)]
        subprocess.run(rebase, check=True, capture_output=True)
        return path


def saved(name: str, disk: Disk, start: Start, run: Callable[[Path], Machine]) -> Saved:
    """Return a saved machine; on first use `run` starts one on this disk and brings it to the instant."""
    found = Saved(name, disk, start)
    with (disk.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.state.exists():
            half = disk.folder / f"{name}.half"
            half.unlink(missing_ok=True)
            with run(half) as machine:
                machine.save(found.state.with_suffix(".half-state"))
            half.rename(found.delta)
            found.state.with_suffix(".half-state").rename(found.state)
    return found


def held(disk: Disk) -> Saved:
    """Return the machine held just before the first of Privet's units starts for the first time."""
    start = disk.told("test.hold")

    def run(path: Path) -> Machine:
        machine = Machine("pc", start, overlay(path, disk.file), form="qcow2")
        guest = Guest(machine)
        machine.until(lambda: "test-hold" in guest.must(["systemctl", "list-jobs"]), "the machine to be held")
        guest.must(["sync"])
        guest.close()
        return machine

    return saved("held", disk, start, run)


def settled(disk: Disk) -> Saved:
    """Return the machine after its first boot is done and all of it is up."""
    before = held(disk)

    def run(path: Path) -> Machine:
        machine = before.resume(path)
        guest = Guest(machine)
        guest.set_clock()
        spent = machine.processor_seconds()
        guest.release()
        guest.await_path(MARKER)
        spent = machine.processor_seconds() - spent
        (disk.folder / "first-boot").write_text(f"{spent:.1f}", encoding="ascii")
        guest.until_active("privet-guard.service")
        guest.run(["systemctl", "is-system-running", "--wait"])
        guest.must(["sync"])
        guest.close()
        return machine

    return saved("settled", disk, before.start, run)
