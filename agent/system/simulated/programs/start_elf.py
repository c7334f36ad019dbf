"""The firmware of a simulated Raspberry Pi: it reads the boot partition before anything else runs, and shows hardware.

It reads config.txt by itself, through none of our code. What hangs at the device is in `device.plugged`; a camera is
shown when config.txt says so.
"""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

PLACE = "/boot/firmware"
CAMERA = "imx219"
MODEL = "Raspberry Pi Zero 2 W Rev 1.0\0"


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Refuse, as a kernel does with a program for the graphics processor."""
    return Outcome(code=126, out=b"", err=b"start.elf: cannot execute binary file: Exec format error\n")


def boot(device: "SimulatedSystem") -> None:
    """Do what the lines say, and hand the kernel its line."""
    try:
        said = spoken(device, f"{PLACE}/config.txt")
        named = ["cmdline.txt", *(row[8:] for row in said if row.startswith("cmdline="))]
        line = device.read(f"{PLACE}/{named[-1]}").decode().split("\n", maxsplit=1)[0]
    except PrivetError:
        return
    if "device-tree" not in device.entries("/proc"):
        show(device, "/proc/device-tree/model", MODEL)
    told = "coherent_pool=1M 8250.nr_uarts=1 " + line.replace("console=serial0", "console=ttyS0")
    device.hand.produced("/proc/cmdline", lambda: told.encode() + b"\n")
    if "microphone:device" in device.plugged:
        show(device, "/sys/class/sound/pcmC1D0c/dev", "116:2")
        show(device, "/sys/class/sound/card1/id", "Device")
    overlays = [row.removeprefix("dtoverlay=") for row in said if row.startswith("dtoverlay=")]
    detect = [row for row in said if row.startswith("camera_auto_detect=")][-1:]
    told_to = detect == ["camera_auto_detect=1"] or any(row.startswith(CAMERA) for row in overlays)
    if told_to and f"camera:{CAMERA}" in device.plugged:
        show(device, "/sys/class/video4linux/video0/name", "unicam")
        show(device, "/sys/class/video4linux/v4l-subdev0/name", f"{CAMERA} 10-0010")
        show(device, "/sys/bus/i2c/devices/10-0010/name", CAMERA)


def spoken(device: "SimulatedSystem", path: str, depth: int = 0) -> list[str]:
    """Return the lines that count on this board: those for all, and for its own kind."""
    found, every, held = list[str](), True, dict[str, bool]()
    for row in device.read(path).decode().split("\n"):
        if row[:1] == "[":
            word = row.strip()[1:-1]
            held = {} if word == "all" else {**held, "board" if word[:2] == "pi" else word: word == "pi02"}
            every = all(held.values())
        elif every and row.startswith("include ") and depth < 4:
            found += spoken(device, f"{PLACE}/{row[8:].strip()}", depth + 1)
        elif every and row and row[0] != "#":
            found.append(row[:98].strip())
    return found


def show(device: "SimulatedSystem", path: str, content: str) -> None:
    """Show a piece of hardware."""
    device.hand.produced(path, lambda: content.encode() + (b"" if content.endswith("\0") else b"\n"))
