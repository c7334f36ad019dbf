"""Trials and break glass on a device booted by systemd, through the units as they are shipped, sandbox and all."""

import json
from typing import Any

from tests.boot.lab import Booted
from tests.boot.shipped import active, findings, loose, privet

DROP_IN = "/etc/ssh/sshd_config.d/000-a-mine.conf"
FILE = "/boot/firmware/privet-recovery.txt"
OUTBOUND = ["nft", "--stateless", "list", "chain", "inet", "privet", "outbound"]
ALWAYS = 3  # rules that let something through in a chain that is shut


def entries(device: Booted, kind: str) -> list[dict[str, Any]]:
    """Return the bodies of the guard's journal entries of a kind."""
    rows = json.loads(privet(device, "journal", "--json").stdout)["entries"]
    return [row["body"] for row in rows if row["kind"] == kind]


def secrets(device: Booted) -> dict[str, str]:
    """Take the new secrets, once."""
    said = privet(device, "credentials", "show", "--once").stdout.decode()
    return dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)


def opens(device: Booted, password: str) -> bool:
    """Say whether a password opens pi's account."""
    return device.run(["unix_chkpwd", "pi", "nullok"], stdin=password.encode() + b"\0").returncode == 0


def test_the_sandboxed_guard_proves_ways_in_by_using_them(shipped: Booted) -> None:
    """Within its unit's bounds the guard offers the owner's key to sshd, asks sudo, and keeps what it restored."""
    shipped.start()
    active(shipped)
    key = shipped.key("pi")
    shipped.write(DROP_IN, "PasswordAuthentication yes\nMatch all\n    PasswordAuthentication yes\n")
    shipped.must(["systemctl", "reload", "ssh.service"])
    shipped.until(lambda: entries(shipped, "trial_confirmed")[-1:] and entries(shipped, "trial_proved"), 30, "a proof")
    shipped.until(lambda: findings(shipped)["ssh.password"] == "ok", 30, "the password to be refused again")
    tried = " ".join(entries(shipped, "trial_proved")[-1]["tried"])
    assert "ssh_key: pi with a key" in tried, tried
    assert "sudo: pi can do everything" in tried, tried
    assert shipped.login("pi", key=key)


def test_the_recovery_file_gives_the_device_back(shipped: Booted) -> None:
    """With the printed code on the boot partition the next start is a first boot; a wrong one changes nothing."""
    shipped.start()
    active(shipped)
    first = secrets(shipped)
    assert set(first) >= {"linux_account/pi", "recovery/code"}
    shipped.must(["chpasswd"], b"pi:a word of their own\n")
    shipped.key("pi")
    shipped.write(FILE, "nbcdf ghjkn prstu vxbcd\n")
    shipped.reboot()
    active(shipped)
    assert opens(shipped, "a word of their own")
    assert not shipped.exists(FILE)
    assert "wrong code" in privet(shipped, "status").stdout.decode()
    out = shipped.must(OUTBOUND)
    assert out.count(" accept") > ALWAYS
    shipped.write(FILE, first["recovery/code"].upper() + "\r\n")
    shipped.reboot()
    active(shipped)
    assert not shipped.exists(FILE), shipped.journal("-b", "-u", "privet-early", "-u", "privet-firstboot")
    second = secrets(shipped)
    assert not opens(shipped, "a word of their own")
    assert opens(shipped, second["linux_account/pi"])
    assert second["recovery/code"] != first["recovery/code"]
    assert not shipped.exists("/home/pi/.ssh/authorized_keys")
    assert loose(shipped) == {}
    assert shipped.must(OUTBOUND) == out, "what was shut for the reset is open again, as far as is declared"
    assert "recovery file" in privet(shipped, "status").stdout.decode()
    assert shipped.exists("/var/lib/privet/provisioned")
    assert privet(shipped, "journal", "--verify").returncode == 0
