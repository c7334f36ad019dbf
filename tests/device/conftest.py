"""Fixtures of the device tier: one lab for the session, one fresh device for each test that asks.

Two processes share the tests, a file each at a time. A test marked `alone` waits until the other process is between two
tests, and has the machine for itself: it races, counts by the clock, or sets what all devices share.
"""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.device import tree
from tests.device.lab import Device, Lab
from tests.machine_wide import same_after

OWN = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark means."""
    config.addinivalue_line("markers", "alone: no other test runs beside this one")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note this machine's own values: what a guard on a device sets of those that are shared, it sets here."""
    if not hasattr(session.config, "workerinput"):  # once, by the process that hands the tests out
        session.config.stash[OWN] = ExitStack()
        session.config.stash[OWN].enter_context(same_after(strict=False))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give this machine its own values back."""
    if OWN in session.config.stash:
        session.config.stash[OWN].close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Give a directory that the processes of one session have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(autouse=True)
def room(shared: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold the room with others, or alone; who waits at the door is next, so nobody waits for ever."""
    with (shared / "door").open("w") as door, (shared / "room").open("w") as held:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(held, fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Give the source of devices, of the module's own `RECIPE` where it has one; what it made ends with the module."""
    made = Lab(getattr(request.module, "RECIPE", tree.LIGHT))
    yield made
    made.close()


@pytest.fixture
def device(lab: Lab) -> Iterator[Device]:
    """Give one factory-fresh device: user pi with password raspberry, a host key, no daemon running yet."""
    with lab.device() as made:
        yield made


@pytest.fixture(scope="session")
def system_lab() -> Iterator[Lab]:
    """Give the source of devices that hold what loosens a plain system: more daemons, none of them running."""
    made = Lab(tree.SYSTEM)
    yield made
    made.close()


@pytest.fixture
def served(system_lab: Lab) -> Iterator[Device]:
    """Give one device that holds more daemons."""
    with system_lab.device() as made:
        yield made


@pytest.fixture
def quick(device: Device) -> Device:
    """Give a device that refuses passwords without the usual two seconds."""
    device.refuse_quickly()
    return device
