"""The Debian trees of a Raspberry Pi: arm64 with kernel and firmware, armhf with Python alone; built once."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.device import tree

EMULATOR = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# As on Raspberry Pi OS Lite; and what the lab itself needs, a busybox for the initrd.
PACKAGES = {
    "arm64": (
        "avahi-daemon",
        "busybox-static",
        "ca-certificates",
        "dbus",
        "fake-hwclock",
        "iproute2",
        "kmod",
        "libpam-systemd",
        "linux-image-arm64",
        "nftables",
        "openssh-server",
        "openssl",
        "procps",
        "python3",
        "raspi-firmware",
        "sudo",
        "systemd",
        "systemd-sysv",
        "systemd-timesyncd",
        "udev",
    ),
    "armhf": ("python3", "python3-cffi-backend"),
}
# Documents, and drivers that no emulated Pi has: each module costs its time in an emulated depmod.
MODULES = "/lib/modules/*/kernel"
LEFT_OUT = (
    *(f"/usr/share/{part}/*" for part in ("man", "locale", "doc", "info")),
    *(f"{MODULES}/drivers/{part}/*" for part in ("gpu", "media", "infiniband", "scsi", "net/ethernet", "net/wireless")),
    *(f"{MODULES}/drivers/{part}/*" for part in ("iio", "isdn", "staging", "hwmon", "ata", "nvme", "bluetooth")),
    f"{MODULES}/sound/*",
)


def sources(architecture: str) -> str:
    """Return the package sources of this machine: with a Pi's firmware for arm64, the release alone for armhf."""
    text = tree.sources()
    if architecture == "armhf":  # for imports alone; mirrors bring its security updates less reliably
        parts = [part for part in re.split(r"\n\s*\n", text) if "-security" not in part]
        return "\n\n".join(re.sub(r"^deb .*-security.*$", "", part, flags=re.MULTILINE) for part in parts)
    text = re.sub(r"^Components:.*$", "Components: main non-free-firmware", text, flags=re.MULTILINE)
    return re.sub(r"^(deb .*?) main\b.*$", r"\1 main non-free-firmware", text, flags=re.MULTILINE)


def register(architecture: str) -> None:
    """Let this kernel run programs of another architecture; by the flag F no tree needs a copy of the emulator."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    name = EMULATOR[architecture]
    if not (BINFMT / name).exists():
        subprocess.run(["/usr/lib/systemd/systemd-binfmt", f"{name}.conf"], check=True)
    flags = re.search(r"^flags: (.*)$", (BINFMT / name).read_text(), re.MULTILINE)
    if flags is None or "F" not in flags[1]:
        raise RuntimeError(f"{name} is registered without the flag F; remove it from {BINFMT} and run this again")


def built(architecture: str) -> Path:
    """Return the tree for an architecture, building it first when this recipe has none yet (5 to 15 minutes, once)."""
    register(architecture)
    recipe = repr((tree.SUITE, architecture, PACKAGES[architecture], LEFT_OUT))
    place = tree.cache() / f"debian-{tree.SUITE}-{architecture}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"lock-{architecture}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.is_dir():
            build(architecture, place)
    return place


def build(architecture: str, place: Path) -> None:
    """Build the tree beside its final name and move it there when it is complete."""
    print(f"building the Debian tree for {architecture} in {place} (once, under emulation)", file=sys.stderr)
    half = Path(tempfile.mkdtemp(prefix="half-", dir=place.parent))
    argv = ["nice", "mmdebstrap", "--quiet", "--variant=apt", "--mode=root", f"--architectures={architecture}"]
    argv += [f"--include={','.join(PACKAGES[architecture])}", "--format=directory"]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    argv += ['--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Check-Valid-Until "false"']
    # Without INITRD=No the kernel's package makes an initramfs under emulation, which takes longer than all the rest.
    environment = {**os.environ, "INITRD": "No"}
    try:
        command = [*argv, tree.SUITE, str(half), "-"]
        subprocess.run(command, input=sources(architecture).encode(), env=environment, check=True)
        for pattern in ("etc/apt/sources.list", "etc/apt/sources.list.d/*", "etc/ssh/ssh_host_*", "etc/resolv.conf"):
            for path in half.glob(pattern):
                path.unlink()
        half.chmod(0o755)
        half.rename(place)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


if __name__ == "__main__":
    print(built(sys.argv[1]))
