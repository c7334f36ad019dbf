"""A Raspberry Pi as it is sold: the image's flaws, the package, what a fleet flashes, what a first setup left."""

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.device.whole import ACCOUNT, REQUEST
from tests.house import ROOT
from tests.pi.card import Card, make

NAME = "d1"
USER, PASSWORD = "pi", "raspberry"
BROKER, PORT = "10.0.2.100", 8883  # where the emulated network leads to the broker on this machine
LIBRARY = "import sys; sys.path.insert(0, '/usr/lib/privet')\n"
# The emulated card has another hardware address after each start, and the network's gate leads to the first guest only.
LINK = "[Link]\nMACAddress=52:54:00:12:34:58\n"
NETWORK = f"[Match]\nName=en* eth* usb*\n{LINK}[Network]\nDHCP=ipv4\n"
NO_PASSWORD = f"{USER} ALL=(ALL) NOPASSWD: ALL\n"
# What people leave on the FAT side for the first start of a stock image; each holds a secret of its own.
CANARIES = {
    "userconf.txt": b"canary-userconf-1d7f",
    "firstrun.sh": b"canary-firstrun-82c4",
    "custom.toml": b"canary-customtoml-c05e",
    "wpa_supplicant.conf": b"canary-wpa-5b93",
    "user-data": b"canary-userdata-f46a",
    "network-config": b"canary-netconfig-77e0",
}
LEFTOVERS = {
    "userconf.txt": "pi:$6$salt${}\n",
    "firstrun.sh": '#!/bin/bash\nset +e\necho "pi:$6$salt${}" | chpasswd -e\nexit 0\n',
    "custom.toml": 'config_version = 1\n[user]\nname = "pi"\npassword = "{}"\n[ssh]\nenabled = true\n',
    "wpa_supplicant.conf": 'country=DE\nnetwork={{\n ssid="home"\n psk="{}"\n}}\n',
    "user-data": "#cloud-config\nchpasswd:\n  list: |\n    pi:{}\n",
    "network-config": 'version: 2\nwifis:\n  wlan0:\n    access-points:\n      home: {{password: "{}"}}\n',
}


class Tree:
    """A copy of a Debian tree that can be written: the tree below, changes above."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *argv: str, stdin: bytes = b"") -> bytes:
        """Run a program of the tree, under the emulator where it is of another architecture; return what it said."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        argv = ("chroot", str(self.root), *argv)
        done = subprocess.run(argv, input=stdin, capture_output=True, env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{argv} ended with {done.returncode}: {(done.stdout + done.stderr).decode()[-2000:]}")
        return done.stdout

    def write(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Write a file of the tree."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        place.chmod(mode)

    def install(self, deb: Path) -> str:
        """Install a package by dpkg alone; return what was said."""
        shutil.copy(deb, self.root / "root/privet.deb")
        said = self.run("dpkg", "-i", "/root/privet.deb").decode()
        (self.root / "root/privet.deb").unlink()
        return said


@contextmanager
def writable(lower: Path, folder: Path) -> Iterator[Tree]:
    """Give a copy of a tree in which a test may write, with nothing copied beforehand."""
    parts = {name: folder / name for name in ("upper", "work", "tree")}
    for part in parts.values():
        part.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={parts['upper']},workdir={parts['work']}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(parts["tree"])], check=True)
    try:
        yield Tree(parts["tree"])
    finally:
        subprocess.run(["umount", str(parts["tree"])], check=True)


class Factory:
    """One factory: its fleet, the key of the owner of the device it makes, and that device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = Fleet.create(folder / "fleet", "home")
        add_recipient(self.fleet, "collector")
        self.fleet.safe.seal(broker_host=BROKER, broker_port=str(PORT))
        self.key = folder / "owner"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", str(self.key)]
        subprocess.run(argv, check=True)
        self.lab_password = secrets.token_urlsafe(18)
        self.old_hash = b""
        self.old_host_key = b""

    def make(self, lower: Path, deb: Path) -> Card:
        """Make the device's card."""
        with writable(lower, self.folder / "card") as tree:
            self.image(tree)
            tree.install(deb)
            self.flash(tree)
            clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            tree.write("etc/fake-hwclock.data", clock + "\n")
            left = {name: text.format(CANARIES[name].decode()).encode() for name, text in LEFTOVERS.items()}
            return make(tree.root, self.folder / "card.img", {**left, "ssh": b""})

    def image(self, tree: Tree) -> None:
        """Lay down what the image of the maker brings beside pi/raspberry: sudo for nothing, one host key for all."""
        tree.run("chpasswd", stdin=f"root:{self.lab_password}\n".encode())
        self.old_hash = next(
            line.split(b":")[1] for line in (tree.root / "etc/shadow").read_bytes().splitlines() if line[:3] == b"pi:"
        )
        tree.write("etc/sudoers.d/010_pi-nopasswd", NO_PASSWORD, 0o440)
        host_key = tree.root / "etc/ssh/ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "image", "-f", str(host_key)], check=True)
        self.old_host_key = Path(f"{host_key}.pub").read_bytes().split()[1]
        tree.write("etc/hostname", "raspberrypi\n")
        tree.write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
        tree.write("etc/systemd/network/20-wired.network", NETWORK)
        tree.run("systemctl", "--quiet", "enable", "systemd-networkd", "ssh")
        # The owner's own way in, as an imaging program lays it down.
        tree.run("install", "-d", "-m", "700", "-o", USER, "-g", USER, f"/home/{USER}/.ssh")
        tree.write(f"home/{USER}/.ssh/authorized_keys", Path(f"{self.key}.pub").read_bytes(), 0o600)
        tree.run("chown", f"{USER}:", f"/home/{USER}/.ssh/authorized_keys")

    def flash(self, tree: Tree) -> None:
        """Lay down what makes it a device of the fleet; the courier's key is made in the tree."""
        with tempfile.TemporaryDirectory(prefix="privet-profile-") as name:
            profile = Path(name) / "bench.toml"
            shutil.copy(ROOT / "device_profiles" / "base.toml", name)
            profile.write_text(BENCH, encoding="ascii")
            issued = issue_policy(self.fleet, profile)
        tree.run("install", "-d", "-m", "700", "/etc/privet")
        for name, content in seed_files(self.fleet, issued, NAME).items():
            tree.write(f"etc/privet/{name}", content, 0o600)
        request = tree.run("/usr/bin/python3", "-IBS", "-c", LIBRARY + REQUEST, NAME)
        home = "var/lib/privet-courier"
        tree.write(f"{home}/cert.pem", self.fleet.sign_csr(request, NAME, 30), 0o600)
        tree.write(f"{home}/ca.pem", self.fleet.trust_anchor(), 0o600)
        tree.run("chown", "-R", f"{ACCOUNT}:", f"/{home}")


# The story sits down at the serial port, which the base keeps shut.
BENCH = """\
model = "bench"
title = "The private base, with a login on the serial port"
inherits = "base"

[settings]
"serial.console" = { value = "login", reason = "Whoever tests it sits at this port." }
"""


def deb_for(architecture: str, folder: Path) -> Path:
    """Return the package for an architecture, built from this checkout as `make deb ARCH=…` does."""
    argv = [sys.executable, "-m", "provisioning.package", "--arch", architecture, "--out", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the package for {architecture} was not built: {done.stderr[-2000:]}")
    (made,) = folder.glob("*.deb")
    return made
