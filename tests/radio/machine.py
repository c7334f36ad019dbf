"""The machine that has radios, eyes and ears: Debian's ordinary kernel, whose modules play the hardware.

What they make is hardware to every program above the kernel: virtual Wi-Fi cards that hear one another, a television
card as a camera, a sound card that records, and controllers for Bluetooth whose other end is a program.
"""

from dataclasses import replace

from tests.device import tree
from tests.vm import disk

PROGRAMS = (
    "alsa-utils",
    "bluez",
    "bluez-test-tools",  # btvirt, the other end of a virtual Bluetooth controller
    "hostapd",
    "iw",
    "linux-image-amd64",
    "network-manager",
    "rfkill",
    "wpasupplicant",
)
# Drivers of what no emulated machine has; they are most of a kernel.
WITHOUT = tuple(f"/lib/modules/*/kernel/drivers/{part}/*" for part in ("gpu", "infiniband", "net/ethernet", "scsi"))
# Access points are started by the tests, and the network at the cable is not NetworkManager's.
FACTORY = """
systemctl --quiet disable hostapd.service NetworkManager-wait-online.service
printf '[keyfile]\\nunmanaged-devices=interface-name:en*\\n' >/etc/NetworkManager/conf.d/10-cable.conf
useradd -m -s /bin/bash -G video,audio seer
useradd -m -s /bin/bash other
"""
RADIO = replace(
    tree.BOOT.more("radio", *PROGRAMS, factory=FACTORY + disk.CHEAP), environment=(("INITRD", "No"),), without=WITHOUT
)
