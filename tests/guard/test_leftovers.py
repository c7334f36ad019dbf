"""What a power cut leaves half written is gone after the next start, wherever the guard and its kinds write."""

import pytest

from agent.credentials import settle
from tests.guard.conftest import Kept

NAME = ".privet-0123456789abcdef.tmp"
KEPT = ("/etc", "/etc/privet", "/var/lib/privet", "/var/lib/privet/keys", "/var/lib/privet/originals", "/etc/ssh")


@pytest.mark.parametrize("folder", KEPT)
def test_half_a_file_is_gone_after_the_next_start(fresh: Kept, folder: str) -> None:
    """A file that was being made when the power went is found where it lies, and removed; a stranger's stays."""
    fresh.start()
    fresh.stop()
    fresh.system.edit(f"{folder}/{NAME}", b"half a secret")
    fresh.system.edit(f"{folder}/.else.tmp", b"not ours")
    fresh.system.reboot()
    fresh.start()
    assert NAME not in fresh.system.entries(folder)
    assert ".else.tmp" in fresh.system.entries(folder)


def test_half_a_file_beside_a_replaced_password_is_gone(fresh: Kept) -> None:
    """A kind's file may lie anywhere: what a cut left beside it goes when the kind makes sure of what stands."""
    fresh.system.edit("/srv/broker/passwords", b"user:hash\n")
    fresh.system.edit(f"/srv/broker/{NAME}", b"half")
    settle(fresh.system, "/srv/broker/passwords")
    assert fresh.system.entries("/srv/broker") == ("passwords",)
