"""The Debian package on a light device: installed, run as its unit says, upgraded, removed and purged."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device.lab import Device
from tests.device.whole import Whole
from tests.house import ROOT

UNITS = ("privet-guard.service", "privet-courier.service")
# What a first boot replaces for good.
SECRETS = {"/etc/shadow", "/etc/shadow-", "/etc/passwd-", "/etc/machine-id", "/etc/hostname", "/etc/hosts"}
# What dpkg, passwd and systemd's own tools keep for themselves after any package.
BOOKS = re.compile(
    r"/etc/\.pwd\.lock|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/var/lib/dpkg/.*"
    r"|/var/log/(dpkg|alternatives)\.log|/var/lib/systemd/deb-systemd-(user-)?helper-(enabled|masked).*"
)


def built(repository: Path, out: Path) -> Path:
    """Build the package of a checkout as `make deb` does, and return it."""
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, "-m", "provisioning.package", "--out", str(out)]
    done = subprocess.run(argv, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = out.glob("*.deb")
    return made


@pytest.fixture
def whole_dpkg(device: Device) -> Device:
    """Give a device whose dpkg unpacks manuals and documents too; the lab's tree leaves them out to be small."""
    device.must(["sh", "-c", "grep -rl path-exclude /etc/dpkg/dpkg.cfg.d | xargs -r rm --"])
    return device


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the package of this checkout as it stands, changes included."""
    return built(ROOT, tmp_path_factory.mktemp("deb"))


def install(device: Device, deb: Path) -> str:
    """Install by dpkg alone: whatever it needs must be on the device; return what was said."""
    device.write("/root/privet.deb", deb.read_bytes())
    said = device.must(["dpkg", "-i", "/root/privet.deb"], seconds=120)
    device.remove("/root/privet.deb")
    return said


def names(device: Device) -> set[str]:
    """Return every path on the device's own disk."""
    return set(device.must(["find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-print"]).splitlines())


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_install_remove_purge_leaves_nothing(whole_dpkg: Device, deb: Path):
    """A clean install makes the account and starts nothing; removal keeps what it must; purge leaves nothing."""
    device = whole_dpkg
    before = names(device)
    install(device, deb)
    assert device.must(["getent", "passwd", "privet"]).split(":")[5:] == [
        "/var/lib/privet-courier",
        "/usr/sbin/nologin\n",
    ]
    assert device.must(["stat", "-c", "%U %a", "/var/lib/privet-courier"]).split() == ["privet", "700"]
    assert device.must(["dpkg", "--verify", "privet"]) == ""
    wanted = device.must(["ls", "/etc/systemd/system/multi-user.target.wants"]).split()
    assert set(UNITS) <= set(wanted)
    device.write("/etc/privet/device.cbor", b"x")
    device.write("/var/lib/privet/state.db", b"x")
    said = device.must(["dpkg", "-r", "privet"])
    sentence = [line for line in said.splitlines() if line.startswith("Privet is removed")]
    assert len(sentence) == 1
    assert "settings stay" in sentence[0]
    assert device.read("/etc/privet/device.cbor") == device.read("/var/lib/privet/state.db") == "x"
    device.must(["dpkg", "--purge", "privet"])
    assert device.run(["getent", "passwd", "privet"]).returncode != 0
    left = sorted(names(device) - before)
    print("left after purge:", left)
    assert [path for path in left if not BOOKS.fullmatch(path)] == []
    assert sorted(before - names(device)) == []


def test_an_account_of_somebody_else_survives_purge(device: Device, deb: Path):
    """An account privet that was there before, with another home, is used and not removed."""
    device.must(["useradd", "--system", "--home-dir", "/srv/other", "privet"])
    install(device, deb)
    device.must(["dpkg", "--purge", "privet"])
    assert device.must(["getent", "passwd", "privet"]).split(":")[5] == "/srv/other"


def test_upgrade_keeps_what_the_owner_switched_off(device: Device, deb: Path):
    """Installing again over itself works; a unit that the owner disabled stays disabled."""
    install(device, deb)
    device.must(["systemctl", "--root=/", "disable", "privet-courier.service"])
    install(device, deb)
    assert device.run(["systemctl", "--root=/", "is-enabled", "privet-courier.service"]).stdout.strip() == b"disabled"
    assert device.run(["systemctl", "--root=/", "is-enabled", "privet-guard.service"]).stdout.strip() == b"enabled"
    device.must(["dpkg", "--purge", "privet"])


def test_units_are_sound(device: Device, deb: Path):
    """Systemd finds nothing to say about the units; with a line it does not know, it does. Scores are printed."""
    install(device, deb)
    for unit in UNITS:
        path = f"/lib/systemd/system/{unit}"
        done = device.run(["systemd-analyze", "verify", "--man=no", path], seconds=60)
        assert (done.returncode, done.stdout + done.stderr) == (0, b"")
        score = device.run(["systemd-analyze", "security", "--offline=true", "--no-pager", path], seconds=60).stdout
        print(unit, score.decode().strip().splitlines()[-1])
        device.write(f"/run/{unit}", device.read(path).replace("[Service]", "[Service]\nProtectEverything=yes"))
        twin = device.run(["systemd-analyze", "verify", "--man=no", f"/run/{unit}"], seconds=60)
        assert b"ProtectEverything" in twin.stderr


UNCOMPILED = """
import importlib, os, sys
sys.path.insert(0, "/usr/lib/privet")
importlib.import_module(sys.argv[1])
cached = {name: getattr(part, "__cached__", None) for name, part in list(sys.modules.items())}
print(*sorted(name for name, path in cached.items() if path and not os.path.exists(path)))
"""


@pytest.mark.parametrize(("unit", "module"), [(UNITS[0], "agent.guard.run"), (UNITS[1], "agent.courier.process")])
def test_nothing_is_compiled_at_start(device: Device, deb: Path, unit: str, module: str):
    """As the unit starts it, every module is found compiled, Python's own too; with -OO Python's own would not be."""
    install(device, deb)
    found = re.search(r"^ExecStart=(.*) \S+$", device.read(f"/lib/systemd/system/{unit}"), re.MULTILINE)
    assert found is not None
    start = shlex.split(found[1])
    assert device.must([*start, "-c", UNCOMPILED, module]).split() == []
    twin = device.must([*start, "-OO", "-c", UNCOMPILED, module]).split()
    assert "selectors" in twin
    assert [name for name in twin if name.startswith("agent")] == []


class Packaged(Whole):
    """A whole device whose guard and command are those of the package; the checkout is taken away from it."""

    def install(self, deb: Path) -> None:
        """Install the package, then unmount what the lab shares of this machine."""
        install(self.device, deb)
        self.device.must(["umount", "/opt/privet", "/opt/site-packages"])

    def start(self) -> None:
        """Start the guard by the words of its unit and wait until the command gets an answer."""
        unit = self.device.read("/lib/systemd/system/privet-guard.service")
        found = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        assert found is not None
        self.guard = self.device.spawn(shlex.split(found[1]))
        self.until(lambda: self.privet("status").returncode in (0, 3), 40, "the guard to answer")

    def pid(self, module: str) -> int:
        """Return the guard's pid inside the device."""
        return int(self.device.must(["pgrep", "-o", "-f", "/usr/lib/privet/privet-guard"]).split()[0])

    def privet(self, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run the installed `privet`."""
        return self.device.run(["privet", *words], seconds=seconds)


def test_the_installed_guard_and_command_work(whole_dpkg: Device, deb: Path, tmp_path: Path):
    """The guard started from /usr/lib/privet makes a flashed device private; `privet` says so; nothing is written."""
    device = whole_dpkg
    whole = Packaged(device, tmp_path)
    device.sshd()
    whole.install(deb)
    assert device.run(["ls", "/opt/privet"]).stdout == b""
    version = whole.privet("--version")
    assert version.stdout.decode().startswith("privet, version ")
    assert whole.privet("status").returncode not in (0, 3)
    whole.start()
    answer = json.loads(whole.privet("status", "--json").stdout)
    assert len(answer["findings"]) >= 14
    assert {row["setting"]: row["status"] for row in answer["findings"]}["ssh.password"] == "ok"
    assert not device.login("pi", password="raspberry")
    mapped = device.must(["cat", f"/proc/{whole.pid('guard')}/maps"])
    assert "lib-dynload" in mapped
    assert "-packages" not in mapped
    said = whole.stop().splitlines()
    assert said and all(line.startswith("privet: ") for line in said), said  # where its first boot stood, no more
    assert device.must(["dpkg", "--verify", "privet"]) == ""
    owned = set(device.must(["dpkg", "-L", "privet"]).split())
    assert set(device.must(["find", "/usr/lib/privet"]).split()) <= owned
    device.must(["dpkg", "--purge", "privet"])
    assert device.run(["ls", "-d", "/etc/privet", "/var/lib/privet", "/usr/lib/privet"]).stdout == b""


def test_the_conffile_is_the_owners(device: Device, deb: Path, tmp_path: Path):
    """Dpkg asks about a setup.toml that was edited and keeps it on a no; one that was not edited is simply renewed."""
    wishes = "/etc/privet/setup.toml"
    later = tmp_path / "later"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(later)], check=True)
    control = later / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+later", control.read_text(), flags=re.MULTILINE))
    (later / wishes.lstrip("/")).write_text("# later\nautomatic = true\n")
    subprocess.run(["dpkg-deb", "-Zgzip", "-b", str(later), str(tmp_path / "later.deb")], check=True)
    install(device, deb)
    shipped = device.read(wishes)
    install(device, tmp_path / "later.deb")
    assert device.read(wishes) == "# later\nautomatic = true\n"
    device.must(["dpkg", "--purge", "privet"])
    install(device, deb)
    device.write(wishes, shipped + "# mine\n")
    device.write("/root/privet.deb", (tmp_path / "later.deb").read_bytes())
    asked = device.run(["dpkg", "-i", "/root/privet.deb"], stdin=b"N\n", seconds=120)
    assert asked.returncode == 0
    assert f"Configuration file '{wishes}'".encode() in asked.stdout + asked.stderr
    assert device.read(wishes) == shipped + "# mine\n"
    assert device.read(f"{wishes}.dpkg-dist").startswith("# later")
    device.must(["dpkg", "--purge", "privet"])
    assert device.run(["ls", "-d", "/etc/privet"]).returncode != 0


def test_armv6_is_told_before_anything_is_unpacked(device: Device, deb: Path):
    """On a processor that calls itself armv6l one sentence says why not, and nothing is on the disk."""
    device.write("/usr/bin/uname", "#!/bin/sh\necho armv6l\n", 0o755)
    device.write("/root/privet.deb", deb.read_bytes())
    done = device.run(["dpkg", "-i", "/root/privet.deb"], seconds=60)
    assert done.returncode != 0
    assert b"ARMv6 processor, and Privet needs ARMv7 or newer." in done.stderr
    assert device.run(["ls", "/usr/lib/privet"]).returncode != 0


def test_begin_and_end_without_systemd(whole_dpkg: Device, deb: Path, tmp_path: Path):
    """Only root may; while the guard runs nothing is put back; then nothing guards until `privet setup`."""
    device = whole_dpkg
    whole = Packaged(device, tmp_path)
    device.sshd()
    whole.install(deb)
    for verb in ("setup", "restore"):
        refused = device.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "privet", verb])
        assert (refused.returncode, b"run it with sudo" in refused.stderr) == (77, True)
    tree = "find /etc -type f ! -path '/etc/privet/*' ! -path '/etc/ssh/ssh_host_*' -exec sha256sum {} +"
    before = {*device.must(["sh", "-c", tree]).splitlines()}
    whole.start()
    assert {*device.must(["sh", "-c", tree]).splitlines()} != before
    refused = whole.privet("restore", "--yes")
    assert refused.returncode == 77
    assert b"stop it, then run privet restore again" in refused.stderr
    whole.stop()
    done = whole.privet("restore", "--yes")
    assert done.returncode == 0, done.stderr
    changed = {*device.must(["sh", "-c", tree]).splitlines()} ^ before
    assert {line.split()[1] for line in changed} <= SECRETS | {"/etc/.pwd.lock"}
    assert device.must(["nft", "list", "tables"]) == ""
    unit = device.read("/lib/systemd/system/privet-guard.service")
    started = device.run(shlex.split(re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)[0]))
    assert started.returncode == 77
    assert b"begin with: privet setup" in started.stderr
    assert b"begins again" in whole.privet("setup").stdout
    whole.start()
    assert device.run(["nft", "list", "table", "inet", "privet"]).returncode == 0
    assert whole.stop() == ""
