"""Disks for whole machines: a Debian tree with the package in it as an ext4 file system, a kernel, a small initramfs.

The tree is laid under an overlay in a mount namespace of its own, gets the package by dpkg and the seeds of a fleet,
and goes to disk by `mke2fs -d`: no loop device, nothing to unmount. Nothing is started on the way, since no systemd
runs in a tree. What was made is kept in the user's cache under a name that changes with all that it was made from.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from agent.core.secret import Secret
from agent.system.vault import DirectVault
from provisioning.fleet.identity import Fleet
from provisioning.profile.issue import add_recipient, issue_policy, seed_files
from tests.device import tree
from tests.house import ROOT
from tests.vm.qemu import Start

# Passwords cheap to try: an emulated processor takes half a second for each that costs what Debian's cost.
CHEAP = """
sed -i 's/ yescrypt$/ sha512 rounds=1000/' /etc/pam.d/common-password
echo pi:raspberry | chpasswd
"""
VM = replace(
    tree.BOOT.more("vm", "eatmydata", "linux-image-cloud-amd64", factory=CHEAP), environment=(("INITRD", "No"),)
)
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_console", "crc32c_generic", "ext4")
SIZE = "1500M"
KEPT = 2  # sets in the cache: this one and the one before
DEVICE = "d1"
HERE = Path(__file__).resolve().parent

# The first program of the machine: it loads what leads to the disk, and hands over to the disk's own first program.
INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs devtmpfs /dev
for module in $($b cat /modules); do $b insmod /$module; done
until [ -b /dev/vda ]; do $b usleep 50000; done
$b mount -t ext4 /dev/vda /new || exec $b sh
$b mount --move /dev /new/dev; $b umount /sys; $b umount /proc
exec $b switch_root /new /sbin/init
"""

# Arguments: tree, folder with what is laid in, package, disk, size. What every test machine has beside the package: the
# guest's end of the wire, and a unit that holds the boot before any of Privet's units when the kernel is told so.
LAY_DOWN = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root
mount -t overlay overlay -o "lowerdir=$1,upperdir=/mnt/up,workdir=/mnt/work" /mnt/root
cp -a --no-preserve=ownership "$2/." /mnt/root/
cp "$3" /mnt/root/root/privet.deb
rm -f /mnt/root/etc/dpkg/dpkg.cfg.d/*
chroot /mnt/root dpkg -i /root/privet.deb
rm /mnt/root/root/privet.deb
chroot /mnt/root chown -R privet: /var/lib/privet-courier
chroot /mnt/root systemctl --quiet enable test-wire.service test-hold.service
rm -rf /mnt/root/boot/* /mnt/root/var/cache/apt/* /mnt/root/var/lib/apt/lists/*
mke2fs -q -F -t ext4 -m 0 -E lazy_itable_init=1,nodiscard -d /mnt/root "$4" "$5"
"""
WIRE_UNIT = """[Unit]
Description=The wire of the test machine
DefaultDependencies=no
After=systemd-tmpfiles-setup-dev.service
[Service]
ExecStart=/usr/bin/python3 -S /usr/local/lib/test-wire.py
Restart=always
[Install]
WantedBy=sysinit.target
"""
HOLD_UNIT = """[Unit]
Description=Hold the test machine before its first boot
DefaultDependencies=no
ConditionKernelCommandLine=test.hold
After=local-fs.target test-wire.service systemd-tmpfiles-setup.service
Before=privet-early.service privet-firstboot.service privet-guard.service network-pre.target
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'until [ -e /run/test-go ]; do sleep 0.02; done'
[Install]
WantedBy=sysinit.target
"""
NETWORK = "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n"


@dataclass(frozen=True)
class Disk:
    """What a machine is started from; `folder` also keeps what was saved of machines that ran from it."""

    folder: Path
    file: Path
    start: Start

    def told(self, *words: str) -> Start:
        """Return the start with more words for the kernel."""
        return replace(self.start, words=" ".join((self.start.words, *words)))

    def copy(self, path: Path, of: str = "disk") -> Path:
        """Copy a disk, holes and all, for one machine to write on."""
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(self.folder / of), str(path)], check=True)
        return path


def made(package: Path, recipe: tree.Recipe = VM, name: str = "machine") -> Disk:
    """Return the disk with this package on a tree, made on first use; each name has a cache of its own."""
    sources = [package.read_bytes(), recipe.digest().encode(), (ROOT / "device_profiles/base.toml").read_bytes()]
    sources += [(HERE / file).read_bytes() for file in ("disk.py", "wire.py")]
    digest = hashlib.sha256(b"\0".join(hashlib.sha256(one).digest() for one in sources)).hexdigest()[:12]
    folder = tree.cache() / f"{name}-{digest}"
    base = tree.built(recipe)
    with (tree.cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            make(base, package, folder)
            forget(name)
        os.utime(folder)
    words = "root=/dev/vda rw quiet loglevel=3 mitigations=off"
    return Disk(folder, folder / "disk", Start(folder / "kernel", folder / "initrd", words))


def make(base: Path, package: Path, folder: Path) -> None:
    """Make kernel, initramfs and disk beside their final place and move them there when they are complete."""
    print(f"making the disk of the test machines in {folder}", file=sys.stderr)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=folder.parent))
    try:
        (version,) = os.listdir(base / "lib/modules")
        shutil.copy(base / "boot" / f"vmlinuz-{version}", half / "kernel")
        (half / "initrd").write_bytes(initramfs(base, version))
        laid = half / "laid"
        lay(laid, half / "fleet")
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", LAY_DOWN, "sh"]
        argv += [str(base), str(laid), str(package), str(half / "disk"), SIZE]
        subprocess.run(argv, stdout=sys.stderr, check=True)
        shutil.rmtree(laid)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def forget(name: str) -> None:
    """Drop the oldest sets from the cache; each is half a gigabyte."""
    sets = sorted(tree.cache().glob(f"{name}-*"), key=lambda one: one.stat().st_mtime)
    for old in sets[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def lay(laid: Path, keep: Path) -> None:
    """Write what is laid into the tree before the package: seeds of a real fleet, an identity, the test's units."""
    fleet = Fleet.create(keep, "home")
    add_recipient(fleet, "collector")
    fleet.safe.seal(broker_host="127.0.0.1", broker_port="8883")
    issued = issue_policy(fleet, ROOT / "device_profiles" / "base.toml")
    identity = DirectVault(Secret(b"k" * 32)).new_identity(DEVICE)
    secret = {f"etc/privet/{name}": content for name, content in seed_files(fleet, issued, DEVICE).items()}
    secret |= {
        "var/lib/privet-courier/key.pem": identity.key.reveal(),
        "var/lib/privet-courier/cert.pem": fleet.sign_csr(identity.request, DEVICE, 30),
        "var/lib/privet-courier/ca.pem": fleet.trust_anchor(),
    }
    plain = {
        "usr/local/lib/test-wire.py": (HERE / "wire.py").read_bytes(),
        "etc/systemd/system/test-wire.service": WIRE_UNIT.encode(),
        "etc/systemd/system/test-hold.service": HOLD_UNIT.encode(),
        "etc/systemd/network/20-wired.network": NETWORK.encode(),
        "etc/hostname": b"factory\n",
        "etc/hosts": b"127.0.0.1 localhost\n127.0.1.1 factory\n",
    }
    for group, mode in ((secret, 0o600), (plain, 0o644)):
        for name, content in group.items():
            path = laid / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
    for private in ("etc/privet", "var/lib/privet-courier"):
        (laid / private).chmod(0o700)


def initramfs(base: Path, version: str, first: str = INIT) -> bytes:
    """Return an initramfs with a static busybox, the modules that lead to the disk, and the first program."""
    paths: dict[str, Path] = {}  # in the order in which they are loaded
    for module in MODULES:
        argv = ["modprobe", "--dirname", str(base), "--set-version", version, "--show-depends", module]
        for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines():
            verb, _, rest = line.partition(" ")
            if verb == "insmod":
                paths.setdefault(Path(rest.strip()).name, Path(rest.strip()))
    with tempfile.TemporaryDirectory(prefix="privet-initramfs-") as folder:
        root = Path(folder)
        for name in ("bin", "proc", "sys", "dev", "new"):
            (root / name).mkdir()
        shutil.copy("/usr/bin/busybox", root / "bin/busybox")
        for name, path in paths.items():
            shutil.copy(path, root / name)
        (root / "modules").write_text("\n".join(paths), encoding="ascii")
        (root / "init").write_text(first, encoding="ascii")
        (root / "init").chmod(0o755)
        names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
        argv = ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"]
        return subprocess.run(argv, cwd=root, input=names.encode(), capture_output=True, check=True).stdout
