"""Fixtures of the device tier: one lab for the session, one fresh device for each test that asks."""

from collections.abc import Iterator

import pytest

from tests.device.lab import Device, Lab


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


@pytest.fixture
def quick(device: Device) -> Device:
    """Give a device that refuses passwords without the usual two seconds."""
    device.refuse_quickly()
    return device
