"""Fixtures of the boot tier: one lab, one package and one fleet for the session, devices for each test that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning.fleet.identity import Fleet
from tests.boot.lab import Booted, Lab
from tests.boot.shipped import flash, install, new_fleet, package
from tests.machine_wide import same_after


@pytest.fixture(scope="session", autouse=True)
def same_kernel() -> Iterator[None]:
    """Have this machine's own values strict while containers share them, and give it its own back.

    A container can have none of its own: what a guard set there it would set here, and what ends the guarding there,
    outside of any unit, sees them read-only.
    """
    with same_after(strict=True):
        yield


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give the source of devices; everything it made ends with the session."""
    made = Lab(tmp_path_factory.mktemp("layers"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the package of this checkout as it stands, changes included."""
    return package(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """Give the fleet that all devices belong to."""
    return new_fleet(tmp_path_factory.mktemp("fleet") / "fleet")


@pytest.fixture(scope="session")
def shipped_layer(lab: Lab, deb: Path, fleet: Fleet) -> str:
    """Prepare a disk once: package and seeds on it, never started."""
    lab.prepared("installed", lambda device: install(device, deb))
    lab.prepared("flashed", lambda device: flash(device, fleet), "installed")
    return "flashed"


@pytest.fixture
def factory(lab: Lab) -> Iterator[Booted]:
    """Give a device without Privet, off: user pi with password raspberry, SSH and an open broker at its start."""
    with lab.device(name="factory") as made:
        yield made


@pytest.fixture
def shipped(lab: Lab, shipped_layer: str) -> Iterator[Booted]:
    """Give a device with Privet as it is shipped, off; its first start is its first boot."""
    with lab.device("installed", shipped_layer, name="shipped") as made:
        yield made
