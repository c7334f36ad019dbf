"""Which files of a first setup lie on the boot partition, whether one is still to be taken up, what in it is secret."""

import os
import re
from functools import cache

from agent.core.credential import candidates, read_pairs, recognise
from agent.core.errors import Missing, PrivetError
from agent.core.record import Record
from agent.system import crypt
from agent.system.door import System

LIMIT = 1 << 20
UNITS = ("/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system")
CLOUD = "/var/lib/cloud"
BLANK = b"#cloud-config\n# Privet took out what was here.\n"
NAMES = (
    "custom.toml", "failed_userconf", "failed_userconf.txt", "firstrun.sh", "meta-data", "network-config",
    "rpi-preseed.toml", "ssh", "ssh.txt", "user-data", "userconf", "userconf.txt", "vendor-data", "wpa_supplicant.conf",
)  # fmt: skip
SERVICES = {
    "ssh": "sshswitch.service", "ssh.txt": "sshswitch.service", "userconf": "userconfig.service",
    "userconf.txt": "userconfig.service", "wpa_supplicant.conf": "raspberrypi-net-mods.service",
}  # fmt: skip
IMAGE_INIT = "/usr/lib/raspberrypi-sys-mods/firstboot"
RUNS = re.compile(rb"(?<!\S)systemd\.(?:run|run_success_action|run_failure_action|unit)=\S+")

HASH = re.compile(rb"\$(?:[0-9][a-z]?|y|gy|2[abxy]|md5|sha1)\$[./A-Za-z0-9$,=]{8,}")
KEYED = re.compile(
    rb"""(?i)(?:psk|pass(?:word|wd|phrase)?(?:_encrypted)?|token|secret|wep_key\d?|[a-z_]*key)["']?[ \t]*[:=][ \t]*"""
    rb"""(?:"([^"\r\n]+)"|'([^'\r\n]+)'|([^\s"'#]+))"""
)
SPOKEN = re.compile(rb"(?:set_wlan|chpasswd|userconf|wpa_passphrase|nmcli|passwd)\b[^\r\n]*")
QUOTED = re.compile(rb""""([^"\r\n]{4,})"|'([^'\r\n]{4,})'""")
PAIR = re.compile(rb"(?m)^[ \t-]*[a-z_][a-z0-9_-]{0,31}:(?![ \t/])([^\s:][^\r\n]*?)[ \t\r]*$")
LONG = re.compile(rb"(?<![A-Za-z0-9+/_=-])(?=[^\s]*[0-9])(?=[^\s]*[A-Za-z])[A-Za-z0-9+/_=-]{24,}")
PLAIN = (b"true", b"false", b"yes", b"no", b"none", b"null")
SHORT, LONGEST = 12, 200


class Leftover(Record):
    """One file: path, content, and whether it is to be blanked where it lies instead of removed."""

    __slots__ = ("blank", "content", "path")
    path: str
    content: bytes
    blank: bool


def there(system: System, *paths: str) -> bool:
    """Say whether one of the paths exists."""
    for path in paths:
        try:
            system.stat(path)
        except Missing:
            continue
        return True
    return False


def leftovers(system: System, place: str) -> tuple[Leftover, ...]:
    """Return the files that nothing waits for any more, and those that would bring a factory password back."""
    found = []
    for name in [name for name in NAMES if name in system.entries(place)]:
        path = f"{place}/{name}"
        try:
            content = system.read(path, LIMIT)
        except PrivetError:
            continue  # a directory, or larger than any file of a setup
        if name == "user-data" and content == blanked(len(content)):
            continue
        if not awaited(system, place, name) or (name != "meta-data" and brings_factory(content)):
            found.append(Leftover(path=path, content=content, blank=name == "user-data" and cloud(system)))
    return tuple(found)


def blanked(size: int) -> bytes:
    """Return what a blanked file of some size holds: nothing that cloud-init would do."""
    return (BLANK + b" " * size)[:size]


def awaited(system: System, place: str, name: str) -> bool:
    """Say whether something on this device has yet to take the file up."""
    line = commands(system, place)
    if name in SERVICES:
        return there(system, *(f"{folder}/{SERVICES[name]}" for folder in UNITS))
    if name == "custom.toml":
        return IMAGE_INIT.encode() in line and there(system, IMAGE_INIT)
    if name == "firstrun.sh":
        return b"firstrun.sh" in line
    if name == "rpi-preseed.toml":
        marks = "/var/lib/rpi-preseed"
        done = there(system, f"{marks}/applied") and there(system, f"{marks}/runcmd-done")
        return there(system, "/usr/bin/rpi-preseed", "/usr/lib/rpi-preseed") and not done
    if name in ("user-data", "network-config", "vendor-data", "meta-data"):
        return cloud(system) and (name == "meta-data" or not instance_done(system, place))
    return False


def commands(system: System, place: str) -> bytes:
    """Return the kernel's command line of the next start."""
    try:
        return system.read(f"{place}/cmdline.txt", LIMIT)
    except PrivetError:
        return b""


def cloud(system: System) -> bool:
    """Say whether cloud-init is installed."""
    return there(system, "/usr/bin/cloud-init", "/usr/lib/cloud-init")


def instance_done(system: System, place: str) -> bool:
    """Say whether cloud-init finished the very instance that the partition names."""
    try:
        done = system.read(f"{CLOUD}/data/instance-id", 512).strip()
        system.read(f"{CLOUD}/instance/boot-finished", 4096)
    except PrivetError:
        return False
    found = re.search(rb"(?<!\S)ds=nocloud\S*?;i=([^\s;]+)", commands(system, place))
    if found is None:
        try:
            text = system.read(f"{place}/meta-data", LIMIT)
        except PrivetError:
            return False
        found = re.search(rb"(?m)^instance[-_]id:[ \t]*[\"']?([^\s\"']+)", text)
    return found is not None and found[1] == done


def without_run(line: bytes) -> bytes:
    """Return a command line that runs no script at the next start, as long as the old one."""
    if b"firstrun.sh" not in line:
        return line
    return RUNS.sub(lambda found: b" " * len(found[0]), line)


def values(content: bytes) -> set[bytes]:
    """Return what in a file is, or may be, secret."""
    found = {match[0] for match in HASH.finditer(content)}
    for match in (*KEYED.finditer(content), *PAIR.finditer(content)):
        found.add(next(group for group in match.groups() if group is not None))
    for spoken in SPOKEN.finditer(content):
        found |= {quoted[1] or quoted[2] for quoted in QUOTED.finditer(spoken[0])}
    found |= {match[0] for match in LONG.finditer(content)}
    tidy = {value.strip().strip(b"\"'") for value in found}
    return {value for value in tidy if len(value) > 3 and value.lower() not in PLAIN and not value.startswith(b"<")}


def needles(content: bytes) -> set[bytes]:
    """Return what to search the raw disk for: a long secret itself, a short one with the line it stands in.

    A short password alone may be a word of the kernel's files ("raspberry").
    """
    found = set()
    for value in values(content):
        if len(value) >= SHORT:
            found.add(value[:LONGEST])
            continue
        lines = [line.strip()[:LONGEST] for line in content.split(b"\n") if value in line]
        found |= {line for line in lines if len(line) >= SHORT}
    return {value for value in found if b"\n" not in value}


@cache
def pairs() -> tuple[tuple[str, str], ...]:
    """Read the list of known factory passwords that ships with this version."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with open(os.path.join(folder, "factory_passwords.txt"), encoding="utf-8") as file:
        return read_pairs(file.read())


def brings_factory(content: bytes) -> bool:
    """Say whether a file holds a password that is known to the world, in the clear or as a hash."""
    known = {password for _, password in pairs() if password}
    found = [value.decode("utf-8", "surrogateescape") for value in values(content)]
    if any(value in known for value in found):
        return True
    hashes = [value for value in found if value.startswith("$") and crypt.strength(value) != crypt.INVALID]
    return crypt.patiently(lambda: any(recognise(one, candidates("pi", pairs()), crypt.matches) for one in hashes))
