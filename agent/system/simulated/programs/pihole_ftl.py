"""Pi-hole 6: pages that ask for a password when there is one; what it keeps follows its file and its variables."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "pihole-FTL.service"
PROGRAM, FILE = "/usr/bin/pihole-FTL", "/etc/pihole/pihole.toml"
# Of the file that Pi-hole 6 writes at its first start, the lines that matter here.
TEXT = """[dns]
  queryLogging = true
  listeningMode = "ALL" ### CHANGED, default = "LOCAL"
[webserver]
  acl = ""
  [webserver.api]
    pwhash = ""
[misc]
  privacylevel = 0
"""


def lay(device: "SimulatedSystem") -> None:
    """Lay down what its makers' script brings, and an owner who opened it."""
    device.edit(PROGRAM, b"\x7fELF", mode=0o755)
    device.edit(FILE, TEXT.encode(), uid=999, gid=999)
    products.lay_unit(device, UNIT, f"User=pihole\nExecStart={PROGRAM} -f")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is installed."""
    if products.there(device, PROGRAM):
        products.started(device, (PROGRAM, "-f"), None, UNIT, [("0.0.0.0", 80), ("0.0.0.0", 53)], uid=999)  # noqa: S104


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it takes connections."""
    return (80,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Say whether somebody without a password is let in."""
    yield b""
    yield products.http(200 if 'pwhash = ""' in products.text(device, FILE) else 401)
