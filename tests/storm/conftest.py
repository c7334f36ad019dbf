"""The storm blows in a network namespace of its own, which has a loopback and nothing else."""

import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_network() -> None:
    """Refuse to run where packets of others could be lost."""
    assert [name for _, name in socket.if_nameindex()] == ["lo"], (
        "this tier needs a network of its own: make test-chaos"
    )
    subprocess.run(("ip", "link", "set", "lo", "up"), check=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder on a real disk that the couriers' account can come to, with a short name, for sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="storm-", dir="/var/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def seed() -> str:
    """Give the seed of all choices; it is printed, and can be given again."""
    return os.environ.get("PRIVET_CHAOS_SEED") or secrets.token_hex(4)
