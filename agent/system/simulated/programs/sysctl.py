"""sysctl of procps, and the kernel values behind it: /proc/sys, filled at each start by what systemd-sysctl reads."""

import fnmatch
from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system.door import Outcome
from agent.system.simulated import networkd

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

ROOT = "/proc/sys/"
INTERFACES = ("all", "default", "eth0", "lo")
# What a kernel of Debian 12 starts with.
KERNEL = {
    "fs/protected_fifos": "0", "fs/protected_hardlinks": "0", "fs/protected_regular": "0", "fs/protected_symlinks": "0",
    "fs/suid_dumpable": "0", "kernel/core_pattern": "core", "kernel/dmesg_restrict": "1", "kernel/kptr_restrict": "0",
    "kernel/pid_max": "32768",
    "kernel/yama/ptrace_scope": "0",
}  # fmt: skip
IPV4 = {
    "accept_redirects": "1", "secure_redirects": "1", "send_redirects": "1", "accept_source_route": "0",
    "rp_filter": "0",
}  # fmt: skip
IPV6 = {"accept_redirects": "1", "accept_source_route": "0", "use_tempaddr": "0"}
# By systemd of Debian 12.
PROTECT = b"""fs.protected_fifos = 1
fs.protected_hardlinks = 1
fs.protected_regular = 2
fs.protected_symlinks = 1
"""
FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")


def install(device: "SimulatedSystem") -> None:
    """Lay down what Debian's procps and systemd bring."""
    device.edit("/etc/sysctl.conf", b"# Every line of this file is a comment.\n#net.ipv4.ip_forward=1\n")
    device.hand.link("/etc/sysctl.d/99-sysctl.conf", "../sysctl.conf")
    device.edit("/usr/lib/sysctl.d/50-pid-max.conf", b"kernel.pid_max = 4194304\n")
    device.edit("/usr/lib/sysctl.d/99-protect-links.conf", PROTECT)


def boot(device: "SimulatedSystem") -> None:
    """Make the kernel's values, then set what the files say."""
    for key, value in KERNEL.items():
        make(device, key, value)
    for family, values in (("ipv4", IPV4), ("ipv6", IPV6)):
        for interface in INTERFACES:
            for key, value in values.items():
                lo = interface == "lo" and key == "use_tempaddr"
                make(device, f"net/{family}/conf/{interface}/{key}", "-1" if lo else value)
    named = readable_text(device, "/etc/hostname").strip()
    make(device, "kernel/hostname", named or "localhost")
    files: dict[str, str] = {}
    for folder in reversed(FOLDERS):
        for name in entries(device, folder):
            files[name] = f"{folder}/{name}"
    found = [line for name in sorted(files) if name.endswith(".conf") for line in readable(device, files[name])]
    explicit = {key for key, _ in found if "*" not in key}
    for key, wanted in found:
        for one in matching(device, key) if wanted is not None else []:
            if "*" not in key or one not in explicit:
                device.kernel(ROOT + one, str(wanted).encode() + b"\n")
    networkd.start(device)


def readable_text(device: "SimulatedSystem", path: str) -> str:
    """Return the text of a file, empty when it is not there."""
    try:
        return device.read(path).decode("utf-8", "replace")
    except Missing:
        return ""


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Set values: `-p FILE` (`-`: what it is given) or `-w key=value`; quiet with -q."""
    words = [word for word in argv[1:] if word not in {"-q", "-w"}]
    if words == ["-p", "-"]:
        wanted = assignments(stdin.decode())
    elif words[:1] == ["-p"]:
        try:
            wanted = lines(device, words[1] if len(words) > 1 else "/etc/sysctl.conf")
        except Missing:
            return Outcome(code=255, out=b"", err=b"sysctl: cannot open file: No such file or directory\n")
    else:
        wanted = [(slashed(word.partition("=")[0]), word.partition("=")[2]) for word in words]
    code, err = 0, b""
    for key, value in wanted:
        found = matching(device, key)
        if not found and "*" not in key:
            code, err = 1, err + b"sysctl: cannot stat /proc/sys/%s: No such file or directory\n" % key.encode()
        for one in found:
            if value is not None:
                device.kernel(ROOT + one, value.encode() + b"\n")
    return Outcome(code=code, out=b"", err=err)


def make(device: "SimulatedSystem", key: str, value: str) -> None:
    """Make one kernel value: what is written to it is what is read from it."""
    box = [value.encode()]

    def accept(content: bytes) -> None:
        box[0] = content.strip()

    device.hand.produced(ROOT + key, lambda: box[0] + b"\n", accept, mode=0o644)


def entries(device: "SimulatedSystem", folder: str) -> tuple[str, ...]:
    """Return the names in a directory that may be missing."""
    try:
        return device.entries(folder)
    except Missing:
        return ()


def slashed(key: str) -> str:
    """Turn dots into slashes where the dot comes first."""
    plain = key.strip().lstrip("-")
    dot, slash = plain.find("."), plain.find("/")
    swap = dot >= 0 and (slash < 0 or dot < slash)
    return plain.replace("/", "\0").replace(".", "/").replace("\0", ".") if swap else plain


def readable(device: "SimulatedSystem", path: str) -> list[tuple[str, str | None]]:
    """Read one file, nothing from a mask or a link to nowhere."""
    try:
        return lines(device, path)
    except Missing:
        return []


def lines(device: "SimulatedSystem", path: str) -> list[tuple[str, str | None]]:
    """Read one file."""
    return assignments(device.read(path).decode())


def assignments(content: str) -> list[tuple[str, str | None]]:
    """Read lines; a value of None excludes a key from patterns."""
    found: list[tuple[str, str | None]] = []
    for line in content.splitlines():
        text = line.strip()
        if text and text[0] not in "#;" and ("=" in text or text[0] == "-"):
            key, equals, value = text.partition("=")
            found.append((slashed(key), value.strip() if equals else None))
    return found


def matching(device: "SimulatedSystem", key: str) -> list[str]:
    """Return the kernel's keys that a key or pattern names."""
    found = [""]
    for part in key.split("/"):
        found = [
            f"{above}/{name}".lstrip("/")
            for above in found
            for name in entries(device, (ROOT + above).rstrip("/"))
            if fnmatch.fnmatchcase(name, part)
        ]
    return [one for one in found if device.stat(ROOT + one).kind == "file"]
