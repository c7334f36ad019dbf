"""Fixtures of the device tier: one lab for the session, one fresh device for each test that asks."""

from collections.abc import Iterator

import pytest

from tests.device import tree
from tests.device.lab import Device, Lab
from tests.machine_wide import same_after


@pytest.fixture(scope="session", autouse=True)
def same_kernel() -> Iterator[None]:
    """Give this machine its own values back: what a guard on a device sets of those that are shared, it sets here."""
    with same_after(strict=False):
        yield


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Give the source of devices; everything it made ends with the session."""
    made = Lab()
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
