"""The Debian trees of a Raspberry Pi: arm64 with kernel and firmware, armhf with what the package needs."""

import re
import subprocess
import sys
from pathlib import Path

from tests.device import tree
from tests.device.tree import Recipe

EMULATOR = {"arm64": "qemu-aarch64", "armhf": "qemu-arm"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# As on Raspberry Pi OS Lite; and what the lab itself needs, a busybox for the initrd.
PACKAGES = (
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
)
# Drivers that no emulated Pi has: each module costs its time in an emulated depmod.
DRIVERS: tuple[str, ...] = (
    "ata",
    "bluetooth",
    "gpu",
    "hwmon",
    "iio",
    "infiniband",
    "isdn",
    "media",
    "net/ethernet",
    "net/wireless",
)
DRIVERS += ("nvme", "scsi", "staging")
UNNEEDED = tuple(f"/lib/modules/*/kernel/{part}/*" for part in ("sound", *(f"drivers/{name}" for name in DRIVERS)))
DEPENDS = ("nftables", "python3", "python3-cffi-backend", "systemd")
RECIPES = {
    # Without INITRD=No the kernel's package makes an initramfs under emulation, which takes longer than all the rest.
    "arm64": Recipe(
        "pi",
        PACKAGES,
        tree.FACTORY,
        architecture="arm64",
        environment=(("INITRD", "No"),),
        without=UNNEEDED,
        component="non-free-firmware",
    ),
    "armhf": Recipe("armhf", DEPENDS, "true", architecture="armhf", plain=True),
}


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
    """Return the tree for an architecture, building it first when there is none (3 to 15 minutes, once)."""
    register(architecture)
    return tree.built(RECIPES[architecture])


if __name__ == "__main__":
    print(built(sys.argv[1]))
