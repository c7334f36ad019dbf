"""udev of the simulated device: it makes nodes for what the firmware showed, with the rights that its rules say."""

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PROGRAM = "/usr/bin/udevadm"
FOLDERS = ("/usr/lib/udev/rules.d", "/run/udev/rules.d", "/etc/udev/rules.d")
FOUND = {"video4linux": ("/sys/class/video4linux", "/dev"), "sound": ("/sys/class/sound", "/dev/snd")}
OLD = ("dsp", "adsp", "audio")  # nodes of OSS, which stand apart from the others for sound
WORD = re.compile(r'(\w+)\s*(==|!=|-=|:=|\+=|=)\s*"([^"]*)"')
STOCK = b"""\
SUBSYSTEM=="video4linux", GROUP="video", MODE="0660"
SUBSYSTEM=="sound", GROUP="audio", MODE="0660"
"""
GROUPS = {"root": 0, "audio": 29, "video": 44}


def install(device: "SimulatedSystem") -> None:
    """Lay down the rules that come with it."""
    device.edit(f"{FOLDERS[0]}/50-udev-default.rules", STOCK)


def boot(device: "SimulatedSystem") -> None:
    """Make the nodes, and go over all devices: what systemd-udev-trigger.service does, each time it is started."""
    if not device.running("udevadm"):
        device.start((PROGRAM,), None)
    device.hand.special("/run/udev/control", "socket")
    for subsystem in FOUND:
        over(device, subsystem)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Read the rules anew and wait (at once: they are read each time), or go over the devices of a subsystem."""
    if argv[1:2] in {("control",), ("settle",)}:
        return Outcome(code=0, out=b"", err=b"")
    if argv[1:2] != ("trigger",):
        return Outcome(code=1, out=b"", err=b"Unknown command verb.\n")
    wanted = [word.partition("=")[2] for word in argv if word.startswith("--subsystem-match=")]
    for subsystem in wanted or FOUND:
        over(device, subsystem)
    return Outcome(code=0, out=b"", err=b"")


def names(device: "SimulatedSystem", folder: str) -> tuple[str, ...]:
    """Return the names in a directory that may be missing."""
    try:
        return device.entries(folder)
    except Missing:
        return ()


def over(device: "SimulatedSystem", subsystem: str) -> None:
    """Give each device of a subsystem its node and its rights."""
    shown, place = FOUND.get(subsystem, ("", ""))
    for kernel in names(device, shown) if shown else ():
        mode, group = judged(device, subsystem, kernel)
        folder = "/dev" if kernel.startswith(OLD) else place
        path = f"{folder}/{kernel}"
        if kernel not in names(device, folder):
            device.hand.special(path, "device", mode)
        device.hand.rights(path, mode, 0, GROUPS.get(group, 0))


def judged(device: "SimulatedSystem", subsystem: str, kernel: str) -> tuple[int, str]:
    """Go through all rules in the order of their files' names; := is final."""
    files: dict[str, str] = {}
    for folder in FOLDERS:
        files.update({name: f"{folder}/{name}" for name in names(device, folder) if name.endswith(".rules")})
    values, done = {"MODE": "0600", "GROUP": "root"}, set()
    for name in sorted(files):
        try:
            text = device.read(files[name]).decode()
        except PrivetError:
            continue
        for row in text.splitlines():
            parts = WORD.findall(row)
            facts = {"SUBSYSTEM": subsystem, "KERNEL": kernel}
            tests = [(key, value) for key, sign, value in parts if sign == "=="]
            if row.strip().startswith("#") or not all(fnmatchcase(facts.get(key, ""), value) for key, value in tests):
                continue
            for key, sign, value in parts:
                if key in values and sign in {"=", ":="} and key not in done:
                    values[key] = value
                    done |= {key} if sign == ":=" else set()
    return int(values["MODE"], 8), values["GROUP"]
