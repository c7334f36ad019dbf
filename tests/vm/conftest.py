"""Fixtures of the machine tier: one package, one disk, and machines that go on from a saved instant."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOT
from tests.vm import disk as disks
from tests.vm import figures, saved
from tests.vm.guest import Guest

PROGRAMS = ("busybox", "cpio", "mke2fs", "mmdebstrap", "modprobe", "qemu-img", "qemu-system-x86_64", "setpriv")
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
PRIVATE = 0x00044000  # MS_PRIVATE | MS_REC


def pytest_configure() -> None:
    """Name the file of what is measured, once for all processes of the run."""
    if figures.PLACE not in os.environ:
        place, os.environ[figures.PLACE] = tempfile.mkstemp(prefix="privet-figures-")
        os.close(place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was measured, and how long all took; it is told once, where the tests were handed out."""
    if hasattr(terminalreporter.config, "workerinput"):
        return
    for line in figures.told():
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"machines: {time.monotonic() - figures.BEGUN:.0f} s in all")


@pytest.fixture(scope="session", autouse=True)
def contained() -> None:
    """Take the tests to mounts of their own, which end with this process; say by name what is missing."""
    if os.geteuid() != 0:
        pytest.exit("make test-vm needs root: it builds Debian trees and mounts disks", 1)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.exit(f"make test-vm needs {', '.join(missing)}; install what PACKAGES_VM in the Makefile names", 1)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS) or libc.mount(b"none", b"/", None, PRIVATE, None):
        pytest.exit(f"make test-vm could not get mounts of its own: {os.strerror(ctypes.get_errno())}", 1)


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the package of this checkout as it stands, changes included."""
    out = tmp_path_factory.mktemp("deb")
    argv = [sys.executable, "-m", "provisioning.package", "--out", str(out)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.deb")
    return made


@pytest.fixture(scope="session")
def disk(deb: Path) -> disks.Disk:
    """Give the disk with this package on it, never started."""
    return disks.made(deb)


@pytest.fixture(scope="session")
def held(disk: disks.Disk) -> saved.Saved:
    """Give the machine saved just before the first of Privet's units starts for the first time."""
    return saved.held(disk)


@pytest.fixture(scope="session")
def settled(disk: disks.Disk) -> saved.Saved:
    """Give the machine saved when its first boot was done."""
    return saved.settled(disk)


@pytest.fixture
def guest(settled: saved.Saved, tmp_path: Path) -> Iterator[Guest]:
    """Give a running machine whose first boot is done, its clock set right."""
    with settled.resume(tmp_path / "disk") as machine:
        talk = Guest(machine)
        talk.set_clock()
        yield talk
