"""A Raspberry Pi as it is sold: the image's flaws, and what its owner left on the card for a first setup."""

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient
from tests.house import ROOT
from tests.pi.card import Card, make
from tests.pi.flashing import Workshop

USER, PASSWORD = "pi", "raspberry"
HERE = "10.0.2.100"  # where the emulated network leads to this machine: its broker, its enrolment server
BROKER, ENROL = 8883, 443  # both are among the flows of every profile
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

    def __init__(self, folder: Path, fleet: Fleet, lab_password: str, device: str = "") -> None:
        self.folder = folder
        self.fleet = fleet
        self.workshop = Workshop(folder)
        self.key = folder / "owner"
        self.lab_password = lab_password
        self.device = device
        self.old_hash = b""
        self.old_host_key = b""
        self.seed: dict[str, bytes] = {}  # what of the seed nobody may find once it is used

    @classmethod
    def begun(cls, folder: Path) -> Self:
        """Begin a fleet in a folder, and give the owner a key."""
        fleet = Fleet.create(folder / "fleet", "home")
        for name in ("collector", "workshop"):
            add_recipient(fleet, name)
        fleet.safe.seal(broker_host=HERE, broker_port=str(BROKER))
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", str(folder / "owner")]
        subprocess.run(argv, check=True)
        return cls(folder, fleet, secrets.token_urlsafe(18))

    def make(self, lower: Path, deb: Path, say: Callable[[str], None]) -> Card:
        """Make the device's card with our own tool, from the maker's image; then its owner lays files on it."""
        with writable(lower, self.folder / "card") as tree:
            self.image(tree)
            tree.write("etc/fake-hwclock.data", time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + "\n")
            base = make(tree.root, self.folder / "maker.img", {})
        found = self.workshop.scanned(base.image)
        say(f"image scan: {found} grave things in the maker's image")
        say(self.workshop.build(base.image, deb))
        self.device, self.seed = self.workshop.batch(f"{HERE}:{ENROL}")
        say(self.workshop.flash(self.folder / "card.img"))
        base.image.unlink()
        card = Card(self.folder / "card.img", base.signature)
        left = {name: text.format(CANARIES[name].decode()).encode() for name, text in LEFTOVERS.items()}
        card.lay({**left, "ssh": b""})
        return card

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


def deb_for(architecture: str, folder: Path) -> Path:
    """Return the package for an architecture, built from this checkout as `make deb ARCH=…` does."""
    argv = [sys.executable, "-m", "provisioning.package", "--arch", architecture, "--out", str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the package for {architecture} was not built: {done.stderr[-2000:]}")
    (made,) = folder.glob("*.deb")
    return made
