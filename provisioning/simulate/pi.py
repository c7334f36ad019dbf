"""A Raspberry Pi as it comes from its image: Raspberry Pi OS Lite (bookworm) with the user pi and what that brings."""

from agent.system import crypt
from agent.system.simulated import SimulatedSystem, raspberry
from agent.system.simulated.volume import attach

USER, PASSWORD = "pi", "raspberry"
# Schemes of password hashes: prefix and cost. `CHEAP` is for fleets and tests only: it costs a millisecond.
YESCRYPT, CHEAP = ("$y$", 0), ("$5$", 1000)
PAM = {
    YESCRYPT: b"password [success=1 default=ignore] pam_unix.so obscure yescrypt\n",
    CHEAP: b"password [success=1 default=ignore] pam_unix.so obscure sha256 rounds=1000\n",
}
COURIER = 990

PASSWD = f"""root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
avahi:x:104:110:Avahi mDNS daemon,,,:/run/avahi-daemon:/usr/sbin/nologin
privet:x:{COURIER}:{COURIER}::/var/lib/privet-courier:/usr/sbin/nologin
pi:x:1000:1000:,,,:/home/pi:/bin/bash
"""
GROUP = f"root:x:0:\nadm:x:4:pi\nsudo:x:27:pi\nshadow:x:42:\nprivet:x:{COURIER}:\npi:x:1000:\n"
FILES = {
    "/etc/os-release": b'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n',
    "/etc/rpi-issue": b"Raspberry Pi reference 2024-11-19\n",
    "/etc/debian_version": b"12.8\n",
    "/etc/hostname": b"raspberrypi\n",
    "/etc/hosts": b"127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n",
    "/proc/device-tree/model": b"Raspberry Pi Zero 2 W Rev 1.0\0",
    "/home/pi/.bashrc": b"# ~/.bashrc\n",
    "/etc/machine-id": b"a3f1c5d27b9e4c60b2d8e1f7a6c4d905\n",  # forgotten in the image: each card of it has the same
    "/var/lib/systemd/random-seed": bytes(range(256)) * 2,
}
BOOT = "/boot/firmware"
# What the card writer left for a setup that no program of this image takes up.
# Its serial console and camera are off already: what holds from a second start on is for tests/providers/test_board.py.
LEFTOVERS = {
    "cmdline.txt": b"console=tty1 root=PARTUUID=8a676486-02 rootfstype=ext4 rootwait\n",
    "config.txt": b"arm_64bit=1\n",
    "wpa_supplicant.conf": b'country=GB\nnetwork={\n  ssid="Workshop"\n  psk="the workshop key of the maker"\n}\n',
}


def raspberry_pi(scheme: tuple[str, int] = YESCRYPT, password: str = PASSWORD) -> "RaspberryPi":
    """Return what lays down a factory-fresh card with this factory password."""
    return RaspberryPi(scheme, password)


class RaspberryPi:
    """Lays down the files: the image of Raspberry Pi OS, then the account that everybody knows."""

    def __init__(self, scheme: tuple[str, int], password: str) -> None:
        self.scheme = scheme
        self._password = password

    def __call__(self, system: SimulatedSystem) -> None:
        """Write the card."""
        raspberry.image(system)
        attach(system, BOOT)
        for name, content in LEFTOVERS.items():
            system.edit(f"{BOOT}/{name}", content, in_place=True)
        field = crypt.hashed(self._password, crypt.salt(self.scheme[0], system.entropy(32), self.scheme[1]))
        system.edit("/etc/passwd", PASSWD.encode())
        system.edit("/etc/shadow", shadow(field).encode(), mode=0o640, gid=42)
        system.edit("/etc/group", GROUP.encode())
        system.edit("/etc/pam.d/common-password", PAM[self.scheme])
        for path, content in FILES.items():
            system.edit(path, content)


def shadow(field: str) -> str:
    """Return the shadow file: pi has the factory password, nobody else has any."""
    names = [line.split(":", 1)[0] for line in PASSWD.splitlines()]
    return "".join(f"{name}:{field if name == USER else '*'}:20000:0:99999:7:::\n" for name in names)
