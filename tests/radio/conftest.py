"""Fixtures of the machine with radios: one disk, one saved machine whose first boot is done, one that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.radio.machine import RADIO
from tests.vm import disk as disks
from tests.vm import saved
from tests.vm.conftest import contained, deb, pytest_configure, pytest_terminal_summary
from tests.vm.guest import Guest

__all__ = ["contained", "deb", "pytest_configure", "pytest_terminal_summary"]


@pytest.fixture(scope="session")
def settled(deb: Path) -> saved.Saved:
    """Give the machine saved when its first boot was done; no radio, camera or microphone is in it yet."""
    return saved.settled(disks.made(deb, RADIO, "radio-machine"))


@pytest.fixture(scope="module")
def guest(settled: saved.Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Give a running machine to a whole file of tests, its clock set right."""
    with settled.resume(tmp_path_factory.mktemp("machine") / "disk") as machine:
        talk = Guest(machine)
        talk.set_clock()
        yield talk
