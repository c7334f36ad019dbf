"""The package on a running Debian: installing it is all it takes; upgraded, put back, removed, purged."""

import shutil
import subprocess
from pathlib import Path

from tests.boot.lab import Booted
from tests.boot.shipped import LATE, active, findings, login, loose, privet, status

GUARD = "privet-guard.service"
# What may differ after `privet restore`: passwords, host keys, identity, what tools keep for themselves, our folder.
NEW = (
    "/etc/shadow", "/etc/passwd", "/etc/gshadow", "/etc/group", "/etc/subuid", "/etc/subgid", "/etc/.pwd.lock",
    "/etc/ssh/ssh_host_", "/etc/privet/", "/etc/machine-id", "/etc/hostname", "/etc/hosts", "/etc/ld.so.cache",
    "/etc/systemd/system/sysinit.target.wants/privet", "/etc/systemd/system/multi-user.target.wants/privet",
    "/etc/mosquitto/", "/etc/mtab ",  # the latter leads to what is mounted now
)  # fmt: skip
LIST = "find /etc \\( -type f -o -type l \\) -printf '%p %m %U:%G %l ' -exec sha256sum -b {} \\; 2>/dev/null | sort"
LIVE = "grep -Hs . /proc/sys/net/ipv[46]/conf/*/* || :"
UNITS = ("avahi-daemon.service", "avahi-daemon.socket", "ssh.service", "mosquitto.service")


def apt(device: Booted, deb: Path, *words: str) -> str:
    """Install a package file as the README says, with no network at all; return what was printed."""
    device.write("/root/privet.deb", deb.read_bytes())
    argv = ["apt-get", "install", "--yes", *words, "/root/privet.deb"]
    done = device.run(["env", "DEBIAN_FRONTEND=noninteractive", *argv], seconds=180)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    return done.stdout.decode()


def newer(deb: Path, folder: Path) -> Path:
    """Pack the same package again as a later version that ships another setup.toml."""
    tree = folder / "newer"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN/control"
    lines = [line + "+later" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    wishes = tree / "etc/privet/setup.toml"
    wishes.write_text(wishes.read_text() + "# A later version says more.\n")
    made = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(made)], check=True)
    shutil.rmtree(tree)
    return made


def files(device: Booted) -> list[str]:
    """Return every file and link below /etc with rights, owner and content, but for what may differ."""
    found = device.must(["sh", "-c", LIST], seconds=60).splitlines()
    return [line for line in found if not line.startswith(NEW)]


def running(device: Booted) -> list[str]:
    """Return which units run, the kernel's network values, and the tables of the firewall."""
    states = [f"{unit} {device.property(unit, 'ActiveState')}" for unit in UNITS]
    tables = device.must(["nft", "list", "tables"]).splitlines()
    return [*states, *tables, *device.must(["sh", "-c", LIVE]).splitlines()]


def private(device: Booted, late: frozenset[str] = LATE) -> None:
    """Wait until the device is private and assert it: every setting is as wanted, and nothing needs attention."""
    device.until(lambda: findings(device), 240, "the guard to answer")
    active(device)
    assert loose(device, late) == {}
    assert len(findings(device)) >= 20


def test_installing_is_all_it_takes(factory: Booted, deb: Path, tmp_path: Path):
    """A running device without a fleet is installed on, and becomes private by itself; a restart keeps it so."""
    factory.start()
    assert login(factory, tmp_path) == "let-in"
    said = apt(factory, deb)
    assert "Privet makes this device private now" in said
    assert "sudo privet credentials show --once" in said
    assert "sudo privet status" in said
    private(factory)
    assert login(factory, tmp_path) != "let-in"
    assert factory.property("privet-courier.service", "ActiveState") == "inactive"
    told = privet(factory, "credentials", "show", "--once").stdout.decode()
    assert "linux_account/pi: " in told
    assert privet(factory, "setup").stdout.decode().startswith("This device is set up already")
    factory.reboot()
    private(factory, frozenset())
    assert login(factory, tmp_path) != "let-in"


def test_by_hand_when_the_file_says_so(factory: Booted, deb: Path, tmp_path: Path):
    """With automatic = false nothing changes, not even at a restart, until root says `privet setup`."""
    factory.lay("/etc/privet/setup.toml", 'automatic = false\nowner_account = "pi"\n')
    factory.start()
    said = apt(factory, deb, "-o", "Dpkg::Options::=--force-confold")
    assert "Privet changes nothing yet" in said
    factory.reboot()
    assert login(factory, tmp_path) == "let-in"
    assert factory.must(["nft", "list", "tables"]) == ""
    assert factory.property(GUARD, "ActiveState") == "inactive"
    assert "failed" not in factory.must(["systemctl", "list-units", "--no-legend", "privet-*"])
    said = privet(factory, "setup").stdout.decode()
    assert "Its owner's account is pi." in said
    private(factory)
    assert login(factory, tmp_path) != "let-in"


def test_restore_brings_back_what_was_and_setup_begins_again(factory: Booted, deb: Path, tmp_path: Path):
    """After `privet restore` files, units, kernel values and firewall are as before, also after a restart."""
    factory.start()
    before = files(factory), running(factory)
    apt(factory, deb)
    private(factory)
    assert files(factory) != before[0]
    assert running(factory) != before[1]
    refused = factory.run(["sh", "-c", "echo n | privet restore"])
    assert b"Nothing was changed." in refused.stdout
    assert factory.property(GUARD, "ActiveState") == "active"
    done = privet(factory, "restore", "--yes", seconds=120)
    print(done.stdout.decode())
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert "What may be open then" in done.stdout.decode()
    assert sorted(set(files(factory)) ^ set(before[0])) == []
    # A daemon that was started anew is "activating" for a moment.
    factory.until(lambda: not set(running(factory)) ^ set(before[1]), 30, "what ran before, and nothing else")
    assert factory.property(GUARD, "ActiveState") == "inactive"
    factory.reboot()
    assert factory.property(GUARD, "ActiveState") == "inactive"
    assert sorted(set(files(factory)) ^ set(before[0])) == []
    assert factory.must(["nft", "list", "tables"]) == ""
    assert login(factory, tmp_path) == "refused"  # the factory password stays dead
    assert privet(factory, "setup").returncode == 0
    private(factory)
    entries = privet(factory, "journal").stdout.decode()
    assert "restored" in entries
    assert b"is sound" in privet(factory, "journal", "--verify").stdout


def test_upgrade_removal_purge(factory: Booted, deb: Path, tmp_path: Path):
    """An upgrade restarts the guard, keeps waivers and an edited conffile; removal stops all; purge leaves nothing."""
    factory.start()
    apt(factory, deb)
    private(factory)
    identity = factory.must(["sha256sum", "/etc/privet/device.cbor"])
    waived = ["loosen", "kernel.dmesg", "0", "--for", "2h", "--reason", "looking", "--yes"]
    assert privet(factory, *waived).returncode == 0
    factory.append("/etc/privet/setup.toml", "# mine\n")
    first = factory.property(GUARD, "MainPID")
    apt(factory, newer(deb, tmp_path), "-o", "Dpkg::Options::=--force-confdef")
    assert "# mine" in factory.read("/etc/privet/setup.toml")
    assert factory.exists("/etc/privet/setup.toml.dpkg-dist")
    factory.until(lambda: status(factory), 120, "the guard to answer again")
    assert factory.property(GUARD, "MainPID") not in {first, "0"}
    assert [row["setting"] for row in status(factory)["waivers"]] == ["kernel.dmesg"]
    assert factory.must(["sha256sum", "/etc/privet/device.cbor"]) == identity
    said = factory.must(["apt-get", "remove", "--yes", "privet"], seconds=120)
    assert "Privet is removed; settings stay as it left them" in said
    assert "run sudo privet restore, remove it then." in said
    assert factory.property(GUARD, "ActiveState") in {"inactive", "failed"}
    assert factory.exists("/etc/privet/device.cbor")
    said = factory.must(["apt-get", "purge", "--yes", "privet"], seconds=120)
    assert "What Privet had recorded of the settings from before it is removed too" in said
    for path in ("/etc/privet", "/var/lib/privet", "/var/lib/privet-courier", "/usr/lib/privet", "/usr/bin/privet"):
        assert not factory.exists(path), path
    assert factory.run(["getent", "passwd", "privet"]).returncode != 0
