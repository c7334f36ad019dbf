"""The Debian tree under every light device: built once from this machine's own package sources, then only read."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    "ca-certificates",
    "hostapd",
    "iproute2",
    "libcap2-bin",
    "libpam-modules",
    "mosquitto",
    "mosquitto-clients",
    "network-manager",
    "nftables",
    "nodejs",
    "openssh-client",
    "openssh-server",
    "openssl",
    "passwd",
    "procps",
    "python3",
    "samba",
    "smbclient",
    "strace",
    "sudo",
    "systemd",
    "tigervnc-standalone-server",
    "tigervnc-tools",
    "wpasupplicant",
)
LEFT_OUT = ("man", "locale", "doc")

# The device as it leaves the factory: a published password, no host key, no name of a package mirror.
FACTORY = """
useradd -m -s /bin/bash -G sudo pi
echo pi:raspberry | chpasswd
rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/resolv.conf
: >/etc/machine-id
"""


def sources() -> str:
    """Return the package sources this machine itself uses."""
    folder = Path("/etc/apt/sources.list.d")
    parts = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.sources")), *sorted(folder.glob("*.list"))]
    texts = [part.read_text() for part in parts if part.is_file()]
    wanted = [text for text in texts if SUITE in text and "debian" in text.lower()]
    if not wanted:
        raise RuntimeError(f"this machine has no package source for Debian {SUITE}; add one to build the device lab")
    return "\n".join(wanted)


def cache() -> Path:
    """Return the folder that keeps built trees."""
    base = os.environ.get("XDG_CACHE_HOME", "") or str(Path.home() / ".cache")
    return Path(base) / "privet" / "lab"


def built() -> Path:
    """Return the path of the tree, building it first when this recipe has none yet (a minute or two, once)."""
    recipe = repr((SUITE, PACKAGES, LEFT_OUT, FACTORY))
    tree = cache() / f"debian-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            build(tree)
    return tree


def build(tree: Path) -> None:
    """Build the tree beside its final name and move it there when it is complete."""
    print(f"building the Debian tree for the device lab in {tree} (once)", file=sys.stderr)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=tree.parent))
    try:
        argv = ["mmdebstrap", "--quiet", "--variant=apt", "--mode=root", f"--include={','.join(PACKAGES)}"]
        argv += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in LEFT_OUT]
        argv += [
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=Acquire::Check-Valid-Until "false"',
            "--format=directory",
        ]
        subprocess.run([*argv, SUITE, str(half), "-"], input=sources().encode(), check=True)
        subprocess.run(["chroot", str(half), "/bin/sh", "-ec", FACTORY], check=True)
        half.chmod(0o755)
        half.rename(tree)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
