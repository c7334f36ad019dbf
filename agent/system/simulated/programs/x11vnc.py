"""x11vnc: shares a screen behind classic VNC authentication, by a password file that it reads at each login."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system import crypt
from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT, PROGRAM = "x11vnc.service", "/usr/bin/x11vnc"
FILE = "/etc/x11vnc.pass"
HIDING = bytes((0xE8, 0x4A, 0xD6, 0x60, 0xC4, 0x72, 0x1A, 0xE0))


def lay(device: "SimulatedSystem") -> None:
    """Lay it down behind the classic password; with an empty file it would ask nobody."""
    device.edit(PROGRAM, b"\x7fELF", mode=0o755)
    device.edit(FILE, b"8 bytes.")
    device.hand.discard("/usr/lib/systemd/system/wayvnc.service")
    products.lay_unit(device, UNIT, f"ExecStart={PROGRAM} -rfbauth {FILE}")


def boot(device: "SimulatedSystem") -> None:
    """Start it where a password file is."""
    if "ConditionPathExists=!/" in products.text(device, f"/etc/systemd/system/{UNIT}.d/zz-privet-vnc.conf"):
        return
    try:
        device.stat(FILE)
    except PrivetError:
        return
    products.started(device, (PROGRAM, "-rfbauth", FILE), None, UNIT, [("0.0.0.0", 5900)])  # noqa: S104


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (5900,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Take one login by RFB 3.8."""
    version = yield b"RFB 003.008\n"
    asks = b"\1\2" if device.read(process.argv[2]) else b"\1\1"
    if version != b"RFB 003.008\n" or (yield asks) != b"\2":
        return
    challenge = device.entropy(16)
    response = yield challenge
    blob = device.read(process.argv[2])
    for place in range(0, len(blob), 8):
        key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in crypt.des(HIDING, blob[place : place + 8], back=True))
        if response == crypt.des(key, challenge[:8]) + crypt.des(key, challenge[8:]):
            yield b"\0\0\0\0"
            return
    yield b"\0\0\0\1\0\0\0\2no"
