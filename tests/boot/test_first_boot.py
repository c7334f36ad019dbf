"""The package on a device that systemd boots: private after its first boot, and no factory password opens it."""

from pathlib import Path

from tests.boot.lab import Booted
from tests.boot.shipped import active, findings, login


def test_factory_twin_is_open(factory: Booted, tmp_path: Path):
    """Without Privet the published password opens the device over its cable: the trial is known to work."""
    factory.start()
    assert login(factory, tmp_path) == "let-in"
    assert login(factory, tmp_path, host="fd88::2") == "let-in"


def test_first_boot_makes_it_private(shipped: Booted, tmp_path: Path):
    """After its first start the guard answers, every setting is at its strictest, and raspberry is refused."""
    shipped.start()
    active(shipped)
    assert login(shipped, tmp_path) == "refused"
    assert login(shipped, tmp_path, host="fd88::2") == "refused"
    found = findings(shipped)
    assert len(found) >= 14
    assert {name for name, verdict in found.items() if verdict not in {"ok", "absent"}} == set()
