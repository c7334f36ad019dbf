"""What the tests of the store share: one key, one moment."""

from pathlib import Path

from agent.core.clock import Clock
from agent.core.secret import Secret
from agent.system.store import Store
from agent.system.vault import DirectVault

VAULT = DirectVault(Secret(bytes(range(32))))


def noon() -> Clock:
    """One moment."""
    return Clock(boot=1, uptime=2, wall=1_790_000_000)


def opened(path: Path | str) -> Store:
    """Open a store with the key of these tests."""
    return Store(str(path), VAULT, noon)
