"""Small images laid out as the makers lay out theirs, and a small package, made by the tools that make real ones."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from provisioning.card.build import Request
from provisioning.card.contents import Issue
from provisioning.fleet.identity import Fleet

MIB = 1 << 20
BOOT, SIZE = 34 * MIB, 24 * MIB  # of the two partitions
LARGER = 136 * MIB  # a boot partition with so large clusters is FAT32 from this size on
SIGNATURE = "1234abcd"
NEEDED = {"nftables": "1.0.6-2", "python3": "3.11.2-1+b1", "systemd": "252.39-1", "dpkg": "1.21.22"}
WORDS = "console=serial0,115200 root=PARTUUID=1234abcd-02 rootfstype=ext4 fsck.repair=yes rootwait"
FSTAB = "proc /proc proc defaults 0 0\nPARTUUID=1234abcd-01 /boot/firmware vfat defaults 0 2\n"
RELEASE = 'PRETTY_NAME="Debian GNU/Linux"\nVERSION_CODENAME={}\n'
CODENAMES = {"debian-bookworm": "bookworm", "raspios-bookworm": "bookworm", "raspios-trixie": "trixie"}
CLUSTERS = {"raspios-bookworm": 4}  # sectors; one elsewhere
UNIT = b"[Unit]\nDescription=x\n\n[Install]\nWantedBy=multi-user.target\n"
Change = Callable[[Path], None]


def packages(versions: dict[str, str], machine: str = "arm64") -> str:
    """Return dpkg's list."""
    row = "Package: {}\nStatus: install ok installed\nArchitecture: {}\nVersion: {}\nDescription: a\n b\n"
    return "\n".join(row.format(name, machine, version) for name, version in sorted(versions.items()))


def tree(folder: Path, layout: str = "debian-bookworm") -> Path:
    """Lay down the little of a system that is looked at."""
    files = {
        "usr/lib/os-release": RELEASE.format(CODENAMES[layout]),
        "etc/fstab": FSTAB,
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:999:999::/:/usr/sbin/nologin\n",
        "etc/group": "root:x:0:\nmessagebus:x:999:\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/gshadow": "root:*::\n",
        "etc/machine-id": "",
        "var/lib/dpkg/status": packages(NEEDED),
        "var/lib/dpkg/info/dpkg.list": "/.\n",
        "etc/systemd/system/multi-user.target.wants/other.service": "",
    }
    if layout.startswith("raspios"):
        files["etc/rpi-issue"] = "Raspberry Pi reference 2025-10-01\n"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "etc/shadow").chmod(0o640)
    for name in ("bin", "lib", "sbin"):
        (folder / "usr" / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(f"usr/{name}")
    return folder


def image(
    path: Path, root: Path, *, layout: str = "debian-bookworm", size: int = SIZE, label: str = "rootfs",
    words: str = WORDS, boot_files: dict[str, bytes] | None = None, features: str = "^huge_file,^64bit",
) -> Path:  # fmt: skip
    """Write a card image whose root partition holds a tree."""
    boot = LARGER if layout in CLUSTERS else BOOT
    start, second = 8 * MIB, 8 * MIB + boot
    table = b""
    for kind, at, length in ((0x0C, start, boot), (0x83, second, size)):
        table += struct.pack("<4xB3xII", kind, at // 512, length // 512)
    with path.open("wb") as file:
        file.truncate(second + size)
        file.seek(440)
        file.write(struct.pack("<IH", int(SIGNATURE, 16), 0) + table.ljust(64, b"\0") + b"\x55\xaa")
    sectors = str(CLUSTERS.get(layout, 1))
    argv = [
        "mkfs.vfat",
        "-F",
        "32",
        "-s",
        sectors,
        "-n",
        "bootfs",
        f"--offset={start // 512}",
        str(path),
        str(boot // 1024),
    ]
    subprocess.run(argv, check=True, capture_output=True)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-O", features, "-b", "4096", "-d", str(root)]
    subprocess.run([*argv, "-E", f"offset={second},root_owner=0:0", path, f"{size // 1024}k"], check=True)
    for name, content in {"config.txt": b"arm_64bit=1\n", "cmdline.txt": words.encode(), **(boot_files or {})}.items():
        laid = path.with_name(name)
        laid.write_bytes(content)
        subprocess.run(["mcopy", "-i", f"{path}@@{start}", laid, "::/"], check=True, env={"MTOOLS_SKIP_CHECK": "1"})
        laid.unlink()
    return path


def package(folder: Path, *, machine: str = "arm64", depends: str = "", more: int = 0) -> Path:
    """Build a package that is like Privet's in kind: a unit, a configuration file, a library, scripts."""
    root = folder / "package"
    needs = depends or "python3 (>= 3.11), python3 (<< 3.14), nftables, systemd"
    control = (
        f"Package: privet\nVersion: 1.2.3\nArchitecture: {machine}\nMaintainer: x <x@localhost>\nInstalled-Size: 3\n"
    )
    files = {
        "DEBIAN/control": f"{control}Depends: {needs}\nSection: admin\nDescription: hedge\n more\n".encode(),
        "DEBIAN/conffiles": b"/etc/privet/setup.toml\n",
        "DEBIAN/postinst": b"#!/bin/sh\nexit 0\n",
        "etc/privet/setup.toml": b"automatic = true\n",
        "lib/systemd/system/privet-guard.service": UNIT,
        "lib/systemd/system/privet-hand.socket": b"[Socket]\n",
        "usr/bin/privet": b"#!/bin/sh\n",
        "usr/lib/privet/large": bytes(range(256)) * 64 + bytes(more),
        "usr/share/doc/privet/copyright": b"All\n\nclick 8.5.1: LICENSE.txt\n=========================\n\nfree\n",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name in ("DEBIAN/postinst", "usr/bin/privet"):
        (root / name).chmod(0o755)
    made = folder / "privet.deb"
    argv = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, made]
    subprocess.run(argv, check=True, capture_output=True)
    return made


def issue(fleet: Fleet) -> Issue:
    """Return whose devices the image is for."""
    return Issue(
        fleet=fleet.name, model="base", sequence=3, policy=b"a signed policy", keys=(fleet.policy_key(),),
        anchor=fleet.trust_anchor(),
    )  # fmt: skip


def request(base: Path, deb: Path, output: Path, whose: Issue, lines: tuple[str, ...] = ()) -> Request:
    """Return what to build."""
    return Request(base=base, package=deb, output=output, issue=whose, lines=lines, moment=1_790_000_000)


class Bench(NamedTuple):
    """What an image is built from."""

    base: Path
    deb: Path
    fleet: Fleet
    issue: Issue
    tree: Path
