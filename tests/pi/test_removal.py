"""Removal on the emulated Pi, as README tells it: restore, remove, and the device starts as its maker left it."""

import subprocess

from tests.pi.factory import PASSWORD
from tests.pi.story import Story


def test_restore_and_remove(lived: Story):
    """`privet restore` puts back what was, the package goes, the next start is without it; nobody is locked out."""
    lived.power()
    lived.up("start of the kept card")
    lived.active()
    assert not lived.password_opens(lived.password)
    said = lived.must("privet", "restore", "--yes")
    lived.say(f"restore: {len(said.splitlines())} lines; {said.strip().splitlines()[-1]}")
    assert "What may be open then" in said and "as it was before Privet" in said
    assert lived.board.ssh("systemctl", "is-active", "--quiet", "privet-guard.service").returncode != 0
    assert lived.board.ssh("sudo", "-n", "true").returncode == 0, "sudo asks, and the image's did not"
    assert lived.must("nft", "list", "tables") == ""
    opened = lived.password_opens(lived.password), lived.password_opens(PASSWORD)
    assert opened == (True, False), "SSH takes passwords as the image did, and the factory's stays dead"
    said = lived.must("apt-get", "remove", "--yes", "privet")
    assert "Privet is removed" in said
    lived.say("apt remove: done; SSH takes the new password again, the factory's is refused")
    lived.restart(lived.board.must("cat", "/proc/sys/kernel/random/boot_id"))
    assert lived.board.ssh("test", "-e", "/usr/lib/privet").returncode != 0
    units = lived.board.must("systemctl", "list-units", "--plain", "--no-legend", "privet-*")
    assert "privet" not in units, units
    assert lived.must("nft", "list", "tables") == ""
    assert lived.password_opens(lived.password)
    done: subprocess.CompletedProcess[bytes] = lived.root("apt-get", "purge", "--yes", "privet")
    assert done.returncode == 0, done.stderr.decode()
    left = [path for path in ("/etc/privet", "/var/lib/privet") if not lived.root("test", "-e", path).returncode]
    assert left == []
    lived.say("after the restart: no Privet, no table of the firewall; purged: no state")
    lived.switch_off()
