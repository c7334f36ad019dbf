"""The same package on the next release of Debian: its Python, SSH server, systemd and nft are newer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.lab import Booted, Lab
from tests.boot.shipped import findings, login, status
from tests.boot.test_package import apt, private
from tests.device import tree


@pytest.fixture
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """Give a device with the next release as it leaves the factory, off."""
    made = Lab(tmp_path_factory.mktemp("newer"), tree.NEWER, clean=False)
    with made.device(name="newer") as device:
        yield device
    made.close()


def test_it_becomes_private_and_stays_so(newer: Booted, deb: Path, tmp_path: Path):
    """Installed, compiled for this Python, private by itself; drift is undone; a restart and a removal go well."""
    newer.start()
    assert login(newer, tmp_path) == "let-in"
    tag = newer.must(["python3", "-c", "import sys; print(sys.implementation.cache_tag)"]).strip()
    assert tag != "cpython-311"
    apt(newer, deb)
    assert newer.exists(f"/usr/lib/privet/agent/guard/__pycache__/house.{tag}.opt-2.pyc")
    private(newer)
    assert login(newer, tmp_path) != "let-in"
    newer.write("/etc/ssh/sshd_config.d/000-a-mine.conf", "Match all\n    PermitRootLogin yes\n")
    newer.must(["systemctl", "reload", "ssh.service"])
    newer.until(lambda: "ssh.root" in str(status(newer)["warnings"]), 60, "the warning")
    newer.until(lambda: findings(newer)["ssh.root"] == "ok", 60, "the setting to be back")
    newer.reboot()
    private(newer, frozenset())
    assert login(newer, tmp_path) != "let-in"
    newer.must(["apt-get", "purge", "--yes", "privet"], seconds=120)
    assert not newer.exists("/usr/lib/privet")
