"""The Debian trees under every device: each recipe built once from this machine's own package sources, then only read.

Three kinds of device stand on them: LIGHT under tests/device (no first process), BOOT under tests/boot (systemd in a
container) and whatever a further recipe adds, such as a kernel for a virtual machine: `BOOT.more("vm", "linux-…")`.
A package that every device needs goes into PACKAGES.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "iproute2",
    "libcap2-bin",
    "libpam-modules",
    "mosquitto",
    "mosquitto-clients",
    "nftables",
    "nmap",
    "openssh-client",
    "openssh-server",
    "openssl",
    "passwd",
    "procps",
    "python3",
    "strace",
    "sudo",
    "systemd",
    "tcpdump",
)
BOOTED = (
    "avahi-daemon",
    "dbus",
    "iputils-ping",
    "kmod",
    "libpam-systemd",
    "systemd-sysv",
    "udev",
)
# What a device may offer beside SSH; heavy, so only the tests of their passwords have them.
PRODUCTS_FOUND = (
    "hostapd",
    "influxdb",
    "network-manager",
    "nodejs",
    "python3-netifaces",  # which OctoPrint needs and PyPI has no wheel of
    "samba",
    "smbclient",
    "tigervnc-standalone-server",
    "tigervnc-tools",
    "wpasupplicant",
)
# What loosens a plain system: programs that listen, report, keep time, log and sign in by themselves.
SYSTEM_FOUND = (
    "avahi-daemon",
    "chrony",
    "dphys-swapfile",
    "inetutils-telnetd",
    "isc-dhcp-client",
    "openbsd-inetd",
    "popularity-contest",
    "rsyslog",
    "tftpd-hpa",
    "unattended-upgrades",
    "vsftpd",
)
# What joins networks, is seen by radio, asks for the time and keeps what was in memory.
RADIOS_FOUND = (
    "bluez",
    "dbus",
    "dhcpcd-base",
    "greetd",
    "isc-dhcp-client",
    "network-manager",
    "python3-dbusmock",  # whose BlueZ answers where there is no radio
    "systemd-coredump",
    "systemd-timesyncd",
)
# The scanners whose word stands beside ours, and what more they are asked about.
SCANNERS = ("avahi-daemon", "lynis", "openscap-scanner", "ssg-debian")
LEFT_OUT = ("man", "locale", "doc")

# The device as it leaves the factory: a published password, no host key, no name of a package mirror.
FACTORY = """
useradd -m -s /bin/bash -G sudo pi
echo pi:raspberry | chpasswd
rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/resolv.conf
: >/etc/machine-id
"""

# What its first start does besides: its SSH host keys are made, as on Raspberry Pi OS; a maker's broker is open to all.
FIRST_START = """
cat >/etc/systemd/system/regenerate_ssh_host_keys.service <<'UNIT'
[Unit]
Description=Make the SSH host keys of this device
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A
[Install]
WantedBy=multi-user.target
UNIT
printf 'listener 1883\\nallow_anonymous true\\n' >/etc/mosquitto/conf.d/factory.conf
systemctl enable regenerate_ssh_host_keys.service ssh.service mosquitto.service systemd-networkd.service
mkdir -p /var/log/journal
"""


@dataclass(frozen=True)
class Recipe:
    """What a tree is made of. `factory` runs inside as root; `environment` is for the package scripts (INITRD=No).

    `without`: patterns of paths that no package brings. `component`: further than main. `plain`: without
    security updates, which mirrors bring less reliably for a rare architecture. `suite`: another release of Debian.
    """

    name: str
    packages: tuple[str, ...]
    factory: str
    left_out: tuple[str, ...] = LEFT_OUT
    architecture: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    component: str = ""
    plain: bool = False
    suite: str = SUITE

    def more(self, name: str, *packages: str, factory: str = "") -> "Recipe":
        """Return a recipe with more in it."""
        return replace(self, name=name, packages=(*self.packages, *packages), factory=self.factory + factory)

    def digest(self) -> str:
        """Return what changes with everything that the tree is made of."""
        parts: tuple[object, ...] = (self.suite, self.packages, self.left_out, self.factory)
        further: tuple[object, ...] = (self.architecture, self.environment)
        latest = (self.without, self.component, self.plain)
        further += latest if any(latest) else ()
        return hashlib.sha256(repr(parts + further if any(further) else parts).encode()).hexdigest()[:12]


LIGHT = Recipe("debian", PACKAGES, FACTORY)
BOOT = LIGHT.more("boot", *BOOTED, factory=FIRST_START)
NEWER = replace(BOOT, name="newer", suite="trixie")  # the release after, whose Python, SSH and systemd are newer
SYSTEM = LIGHT.more("system", *SYSTEM_FOUND)
RADIOS = LIGHT.more("radios", *RADIOS_FOUND)
TRUTH = LIGHT.more("truth", *SCANNERS)
PRODUCTS = LIGHT.more("products", *PRODUCTS_FOUND)
FIREWALLS = LIGHT.more("firewalls", "iptables")  # what Docker and ufw write their rules with


def sources(recipe: Recipe) -> str:
    """Return the package sources that this machine itself uses, as a recipe wants them."""
    folder = Path("/etc/apt/sources.list.d")
    files = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    texts = [file.read_text() for file in files if file.is_file()]
    wanted = [text for text in texts if SUITE in text and "debian" in text.lower()]
    if not wanted:
        raise RuntimeError(f"this machine has no package source for Debian {SUITE}; add one to build the device lab")
    stanzas = re.split(r"\n\s*\n", "\n\n".join(wanted))
    if recipe.plain:
        lines = [re.sub(rf"^deb .*{SUITE}-security.*$", "", stanza, flags=re.MULTILINE) for stanza in stanzas]
        stanzas = [stanza for stanza in lines if f"{SUITE}-security" not in stanza]
    whole = ("\n\n".join(stanzas) + "\n").replace(SUITE, recipe.suite)
    named = r"^((?:Components:|deb ).*\bmain\b)"
    return re.sub(named, rf"\1 {recipe.component}", whole, flags=re.MULTILINE) if recipe.component else whole


def cache() -> Path:
    """Return the folder that keeps built trees."""
    base = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(base) / "privet" / "lab"


def place(recipe: Recipe = LIGHT) -> Path:
    """Return where the tree of a recipe is, or will be."""
    return cache() / f"{recipe.name}-{recipe.suite}-{recipe.digest()}"


def built(recipe: Recipe = LIGHT) -> Path:
    """Return the path of the tree, building it first when there is none of this recipe yet (minutes, once)."""
    tree = place(recipe)
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{recipe.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            build(recipe, tree)
    return tree


def build(recipe: Recipe, tree: Path) -> None:
    """Build the tree beside its final name and move it there when it is complete."""
    print(f"building the Debian tree {tree} (once)", file=sys.stderr)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=tree.parent))
    try:
        argv = ["mmdebstrap", "--quiet", "--variant=apt", "--mode=root", f"--include={','.join(recipe.packages)}"]
        argv += [f"--architectures={recipe.architecture}"] if recipe.architecture else []
        argv += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in recipe.left_out]
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.without]
        argv += [
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=Acquire::Check-Valid-Until "false"',
            "--format=directory",
        ]
        environment = {**os.environ, **dict(recipe.environment)}
        subprocess.run(
            [*argv, recipe.suite, str(half), "-"], input=sources(recipe).encode(), check=True, env=environment
        )
        subprocess.run(["chroot", str(half), "/bin/sh", "-ec", recipe.factory], check=True)
        half.chmod(0o755)
        half.rename(tree)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
