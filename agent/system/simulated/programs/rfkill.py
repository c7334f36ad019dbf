"""rfkill, and systemd-rfkill behind it: a block holds at once, is noted, and is restored at the next start."""

from typing import TYPE_CHECKING

from agent.core.errors import Missing
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

SHOWN, NOTED, PLACED = "/sys/class/rfkill", "/var/lib/systemd/rfkill", "/run/udev/data/+rfkill:"
RADIOS = {"radio:wlan0": ("rfkill0", "wlan", "platform-3f300000.mmcnr"), "radio:hci0": ("rfkill1", "bluetooth", "hci")}


def boot(device: "SimulatedSystem") -> None:
    """Show the radios, as they were noted."""
    for plugged, (name, kind, path) in RADIOS.items():
        if plugged in device.plugged:
            try:
                blocked = device.read(f"{NOTED}/{path}:{kind}").strip() == b"1"
            except Missing:
                blocked = False
            show(device, name, kind, blocked)
            device.hand.produced(f"{PLACED}{name}", f"E:ID_PATH={path}\n".encode)


def show(device: "SimulatedSystem", name: str, kind: str, blocked: bool) -> None:
    """Show one radio."""
    for file, text in (("type", kind), ("soft", "1" if blocked else "0"), ("hard", "0")):
        device.hand.produced(f"{SHOWN}/{name}/{file}", f"{text}\n".encode)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Block or unblock all radios of a kind."""
    if len(argv) != 3 or argv[1] not in {"block", "unblock"}:
        return Outcome(code=1, out=b"", err=b"rfkill: bad usage\n")
    for plugged, (name, kind, path) in RADIOS.items():
        if plugged in device.plugged and argv[2] in {kind, "all"}:
            show(device, name, kind, argv[1] == "block")
            device.edit(f"{NOTED}/{path}:{kind}", b"1\n" if argv[1] == "block" else b"0\n")
    return Outcome(code=0, out=b"", err=b"")
