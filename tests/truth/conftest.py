"""Fixtures of the truth table: a lab whose devices also carry the two scanners."""

from collections.abc import Iterator

import pytest

from tests.device import tree
from tests.device.lab import Lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Give the source of devices; everything it made ends with the session."""
    made = Lab(tree.TRUTH)
    yield made
    made.close()
