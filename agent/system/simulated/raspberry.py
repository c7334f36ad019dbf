"""The image of Raspberry Pi OS as it leaves the card writer: what makes it less private than plain Debian.

Give it to a simulated device as its image: `SimulatedSystem(image=raspberry.image)`, or `board` for what its firmware
reads as well. Accounts get their factory passwords elsewhere; here they have none yet.
"""

from agent.system.simulated.programs import busctl
from agent.system.simulated.system import SimulatedSystem
from agent.system.simulated.volume import attach

UNITS = "/usr/lib/systemd/system"
ENABLED = "/etc/systemd/system"
USER_UNITS = "/usr/lib/systemd/user"
PASSWD = b"""root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
pi:x:1000:1000:,,,:/home/pi:/bin/bash
"""
GROUP = b"""root:x:0:
daemon:x:1:
adm:x:4:pi
sudo:x:27:pi
shadow:x:42:
nogroup:x:65534:
pi:x:1000:
"""
# A password that exists, so that sudo has one to ask for; its hash matches nothing.
SHADOW = b"root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\npi:$y$j9T$factory$factory:20000:0:99999:7:::\n"
BOOT = "/boot/firmware"
CMDLINE = (
    b"console=serial0,115200 console=tty1 root=PARTUUID=8a676486-02 rootfstype=ext4 fsck.repair=yes rootwait quiet\n"
)
CONFIG = b"""\
# For more options and information see
# http://rptl.io/configtxt
# Some settings may impact device functionality. See link above for details

# Uncomment some or all of these to enable the optional hardware interfaces
#dtparam=i2c_arm=on
#dtparam=i2s=on
#dtparam=spi=on

# Enable audio (loads snd_bcm2835)
dtparam=audio=on

# Additional overlays and parameters are documented
# /boot/firmware/overlays/README

# Automatically load overlays for detected cameras
camera_auto_detect=1

# Automatically load overlays for detected DSI displays
display_auto_detect=1

# Automatically load initramfs files, if found
auto_initramfs=1

# Enable DRM VC4 V3D driver
dtoverlay=vc4-kms-v3d
max_framebuffers=2

# Don't have the firmware create an initial video= setting in cmdline.txt.
# Use the kernel's default instead.
disable_fw_kms_setup=1

# Run in 64-bit mode
arm_64bit=1

# Disable compensation for displays with overscan
disable_overscan=1

# Run as fast as firmware / board allows
arm_boost=1

[cm4]
# Enable host mode on the 2711 built-in XHCI USB controller.
# This line should be removed if the legacy DWC2 controller is required
# (e.g. for USB device mode) or if USB support is not required.
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""
# unit: the program it starts, the target that wants it; an unwanted one is installed and off
SERVICES = {
    "avahi-daemon.service": ("/usr/sbin/avahi-daemon", "multi-user.target"),
    "bluetooth.service": ("/usr/libexec/bluetooth/bluetoothd", "multi-user.target"),
    "dphys-swapfile.service": ("/sbin/dphys-swapfile", "multi-user.target"),
    "pigpiod.service": ("/usr/bin/pigpiod", ""),
    "vsftpd.service": ("/usr/sbin/vsftpd", ""),
    "wayvnc.service": ("/usr/bin/wayvnc", ""),
}
OTHERS = {
    "avahi-daemon.socket": "sockets.target",
    "apt-daily.timer": "timers.target",
    "apt-daily-upgrade.timer": "timers.target",
}
GETTY = b"[Unit]\nDescription=A login on a serial line\n[Service]\nExecStart=/sbin/agetty -o '-p' --keep-baud %I\n"
CONSOLES = {"getty": "-o '-p -- \\\\u' --noclear", "serial-getty": "-o '-p -- \\\\u' --keep-baud 115200"}
# Programs that may report, or that put what others had in memory on the card.
REPORTING = (
    "/etc/update-motd.d/50-motd-news",
    "/usr/bin/whoopsie",
    "/usr/lib/chromium/chromium",
    "/usr/lib/firefox-esr/firefox-esr",
    "/usr/lib/systemd/systemd-coredump",
    "/usr/libexec/fwupd/fwupd",
    "/usr/sbin/dphys-swapfile",
    "/usr/sbin/popularity-contest",
)
# What others should not read, with the rights that it has there: mode, owner, text.
KEPT = {
    "/etc/crontab": (0o644, 0, b"17 *\t* * *\troot\tcd / && run-parts --report /etc/cron.hourly\n"),
    "/etc/cron.d/e2scrub_all": (0o644, 0, b"30 3 * * 0 root /sbin/e2scrub_all_cron\n"),
    "/etc/ssl/private/ssl-cert-snakeoil.key": (0o640, 0, b"-----BEGIN PRIVATE KEY-----\n"),
    "/etc/wpa_supplicant/wpa_supplicant.conf": (0o600, 0, b"country=GB\nctrl_interface=DIR=/run/wpa_supplicant\n"),
    "/home/pi/.bash_history": (0o600, 1000, b"sudo raspi-config\n"),
    "/home/pi/.ssh/id_ed25519": (0o600, 1000, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"),
    "/home/pi/.ssh/id_ed25519.pub": (0o644, 1000, b"ssh-ed25519 AAAA pi\n"),
}
# As the desktop of trixie has it, by raspi-config.
GREETD = b"""[terminal]
vt = 7

[default_session]
command = "agreety --cmd /bin/sh"
user = "_greetd"

[initial_session]
command = "labwc-pi"
user = "pi"
"""
# As Debian ships it, but for the one line that the image changes.
AVAHI = b"""[server]
use-ipv4=yes
use-ipv6=yes

[wide-area]
enable-wide-area=yes

[publish]
publish-hinfo=no
publish-workstation=yes

[reflector]
#enable-reflector=no
"""
NETWORKING = (
    "/usr/bin/apt-config",
    "/usr/libexec/udisks2/udisksd",
    "/usr/sbin/NetworkManager",
    "/usr/sbin/dhclient",
    "/usr/sbin/dhcpcd",
)
# By network-manager-config-connectivity-debian, which a desktop brings along.
CONNECTIVITY = b"[connectivity]\nuri=http://network-test.debian.org/nm\n"
# As the card writer lays it down, and as the packages of the two others have it.
WIRED = b"""[connection]
id=preconfigured
uuid=626dd384-8b3d-3690-9511-192b2c79b3fd
type=ethernet

[ipv4]
method=auto

[ipv6]
addr-gen-mode=default
method=auto
"""
DHCPCD = b"# Inform the DHCP server of our hostname for DDNS.\nhostname\n\n# Use the same DUID.\nduid\n"
DHCLIENT = b"""option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;

send host-name = gethostname();
"""
JOURNALD = b"[Unit]\nDescription=Journal Service\n[Service]\nExecStart=/usr/lib/systemd/systemd-journald\n"


# What PAM asks, as Debian 12 has it; the lists of su and login have lines before what all share.
PAM = {
    "common-auth": "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\n"
    "auth required pam_permit.so\n",
    "login": "auth optional pam_faildelay.so  delay=3000000\nauth requisite pam_nologin.so\n@include common-auth\n"
    "auth       optional   pam_group.so\n",
    "su": "auth       sufficient pam_rootok.so\n@include common-auth\n",
    "su-l": "auth\t\tinclude\t\tsu\n",
    "lightdm": "auth requisite pam_nologin.so\n@include common-auth\n-auth  optional pam_gnome_keyring.so\n",
    **dict.fromkeys(("other", "sshd", "sudo", "sudo-i"), "@include common-auth\n"),
}


def image(device: SimulatedSystem) -> None:
    """Lay down the files."""
    systemd(device)
    device.edit("/etc/passwd", PASSWD)
    device.edit("/etc/group", GROUP)
    device.edit("/etc/gshadow", b"root:*::\nsudo:*::pi\n", mode=0o640, gid=42)
    device.edit("/etc/shadow", SHADOW, mode=0o640, gid=42)
    device.hand.directory("/home/pi", 0o755, 1000, 1000)
    device.hand.directory("/home/pi/.ssh", 0o700, 1000, 1000)
    device.hand.directory("/var/lib/privet", 0o700)
    for path, (mode, owner, text) in KEPT.items():
        device.edit(path, text, mode=mode, uid=owner, gid=owner)
    device.edit("/etc/sudoers.d/010_pi-nopasswd", b"pi ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
    device.edit("/etc/sudoers.d/010_global-tty", b"Defaults timestamp_type=global\n", mode=0o440)
    device.edit("/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf", b"[Journal]\nStorage=volatile\n")
    for program, said in PAM.items():
        device.edit(f"/etc/pam.d/{program}", said.encode())
    device.edit("/usr/bin/unattended-upgrade", b"", mode=0o755)
    for path in REPORTING:
        device.edit(path, b"\x7fELF", mode=0o755)
    device.edit("/etc/popularity-contest.conf", b'MY_HOSTID="1bb2"\nPARTICIPATE="no"\n')
    device.edit("/etc/fwupd/remotes.d/lvfs.conf", b"[fwupd Remote]\nEnabled=true\nAutomaticReports=false\n")
    for name, options in CONSOLES.items():
        device.edit(f"{UNITS}/{name}@.service", f"[Service]\nExecStart=-/sbin/agetty {options} - $TERM\n".encode())
    device.hand.link(f"{ENABLED}/getty.target.wants/getty@tty1.service", f"{UNITS}/getty@.service")
    device.edit("/usr/sbin/greetd", b"\x7fELF", mode=0o755)
    device.edit("/etc/greetd/config.toml", GREETD)
    device.edit("/usr/sbin/lightdm", b"\x7fELF", mode=0o755)
    device.edit("/etc/lightdm/lightdm.conf", b"[LightDM]\n\n[Seat:*]\n#autologin-user=\n")
    device.edit("/usr/sbin/avahi-daemon", b"\x7fELF avahi", mode=0o755)
    device.edit("/etc/avahi/avahi-daemon.conf", AVAHI)
    for unit, (program, target) in SERVICES.items():
        device.edit(f"{UNITS}/{unit}", unit_text(f"[Service]\nExecStart={program}\n", target))
        enable(device, unit, target)
    for unit, target in OTHERS.items():
        device.edit(f"{UNITS}/{unit}", unit_text("", target))
        enable(device, unit, target)


def board(device: SimulatedSystem) -> None:
    """Lay down the files, and the boot partition with what a card of bookworm has there: the firmware acts by it."""
    image(device)
    device.plugged |= {"camera:imx219", "eth0", "microphone:device", "radio:wlan0"}
    for program in NETWORKING:
        device.edit(program, b"\x7fELF", mode=0o755)
    device.edit("/etc/NetworkManager/system-connections/preconfigured.nmconnection", WIRED, mode=0o600)
    busctl.lay(device)
    device.edit("/var/lib/systemd/linger/pi", b"")
    for name in ("rpi-connect", "rpi-connect-wayvnc"):
        device.edit(
            f"{USER_UNITS}/{name}.service", unit_text(f"[Service]\nExecStart=/usr/bin/{name}d\n", "default.target")
        )
        device.hand.link(f"/etc/systemd/user/default.target.wants/{name}.service", f"{USER_UNITS}/{name}.service")
    device.edit("/etc/dhcpcd.conf", DHCPCD)
    device.edit("/etc/dhcp/dhclient.conf", DHCLIENT)
    device.edit("/usr/lib/NetworkManager/conf.d/20-connectivity-debian.conf", CONNECTIVITY)
    device.edit(f"{UNITS}/systemd-udev-trigger.service", b"[Service]\nExecStart=/usr/bin/udevadm trigger\n")
    device.hand.link(f"{UNITS}/sysinit.target.wants/systemd-udev-trigger.service", "../systemd-udev-trigger.service")
    attach(device, BOOT)
    device.edit(f"{BOOT}/cmdline.txt", CMDLINE, in_place=True)
    device.edit(f"{BOOT}/config.txt", CONFIG, in_place=True)


def systemd(device: SimulatedSystem) -> None:
    """Lay down the first process and what it brings; a plain simulated device has none."""
    device.edit("/usr/lib/systemd/systemd", b"\x7fELF systemd", mode=0o755)
    device.edit(f"{UNITS}/systemd-journald.service", JOURNALD)
    device.edit(f"{UNITS}/serial-getty@.service", GETTY)
    device.hand.link(f"{UNITS}/sysinit.target.wants/systemd-journald.service", "../systemd-journald.service")
    device.edit(f"{UNITS}/systemd-rfkill.service", b"[Service]\nExecStart=/lib/systemd/systemd-rfkill\n")
    device.edit(f"{UNITS}/systemd-rfkill.socket", b"[Socket]\nListenSpecial=/dev/rfkill\n")
    for target in ("graphical", "multi-user", "paths", "sockets", "sysinit", "timers"):
        device.edit(f"{UNITS}/{target}.target", b"[Unit]\nDescription=A target\n")
    device.edit("/etc/systemd/journald.conf", b"[Journal]\n#Storage=auto\n")


def unit_text(service: str, target: str) -> bytes:
    """Write a unit's file."""
    text = f"[Unit]\nDescription=Part of the image\n\n{service}\n"
    return f"{text}[Install]\nWantedBy={target or 'multi-user.target'}\n".encode()


def enable(device: SimulatedSystem, unit: str, target: str) -> None:
    """Link a unit to the target that wants it."""
    if target:
        device.hand.link(f"{ENABLED}/{target}.wants/{unit}", f"{UNITS}/{unit}")
