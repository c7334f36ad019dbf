"""The site of the courier's tests, made once."""

from collections.abc import Iterator

import pytest

from provisioning.broker.mosquitto import Broker
from tests.courier.rig import Site


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Give a fleet with its authorities."""
    made = Site()
    yield made
    if made.held is not None:
        made.held.cleanup()


@pytest.fixture(scope="session")
def broker(site: Site) -> Iterator[Broker]:
    """Give a running broker that nobody kills: tests that do take their own."""
    with site.broker("broker") as running:
        yield running
