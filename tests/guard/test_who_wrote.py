"""A warning names the program that wrote, whichever look finds the change."""

from tests.guard.conftest import Kept
from tests.guard.test_guard import loosened


def test_a_sweep_names_who_wrote_too(kept: Kept) -> None:
    """A look that was under way when the change was made finds it before its event does, and says whose it was."""
    kept.system.edit("/etc/sysctl.d/zz-privet-redirects.conf", b"net.ipv4.conf.all.accept_redirects = 1\n")
    kept.system.writing.append(("/etc/sysctl.d", "puppet (process 77)"))
    kept.system.writing.append(("/etc/ssh/sshd_config.d", "vi (process 78)"))
    kept.house.guard.sweep()
    kept.turn()
    assert [t["text"].count("Written by puppet (process 77).") for t in kept.told()] == [1]


def test_a_daemon_that_notes_its_number_wrote_no_setting(kept: Kept) -> None:
    """Restoring SSH restarts it, and it writes its number into /run, which is watched: it is not named for that."""
    loosened(kept)
    kept.system.writing.append(("/run", "sshd (process 286)"))
    kept.system.writing.append(("/etc/ssh/sshd_config.d", "vi (process 78)"))
    kept.turn()
    told = {t["setting"]: t["text"] for t in kept.told()}
    assert "Written by vi (process 78)." in told["ssh.password"]
