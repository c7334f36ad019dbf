"""OctoPrint: goes by the config.yaml that it read at its start; tells anybody what they may do without signing in."""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "octoprint.service"
PROGRAM, FILE = "/home/pi/oprint/bin/octoprint", "/home/pi/.octoprint/config.yaml"
# As OctoPrint 1.11 writes it, after an owner who agreed to everything.
TEXT = """accessControl:
  autologinAs: pi
  autologinLocal: true
plugins:
  errortracking:
    unique_id: 6eb1ddfa-0000-0000-0000-000000000000
  tracking:
    enabled: true
    unique_id: e6d5bf88-0000-0000-0000-000000000000
server:
  firstRun: false
  onlineCheck:
    enabled: true
"""


class Server:
    """What a running OctoPrint loaded."""

    def __init__(self, host: str, opened: bool) -> None:
        self.host = host
        self.opened = opened


def lay(device: "SimulatedSystem") -> None:
    """Lay it down as OctoPi does, for everybody on the network."""
    device.edit(FILE, TEXT.encode(), uid=1000, gid=1000)
    start = f"ExecStart={PROGRAM} serve --host=${{HOST}} --port=${{PORT}}"
    products.lay_unit(device, UNIT, f'User=pi\nEnvironment="HOST=0.0.0.0"\nEnvironment="PORT=5000"\n{start}')


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is set up."""
    if products.there(device, FILE):
        text = products.text(device, FILE)
        host = products.environment(device, UNIT).get("HOST", "0.0.0.0")  # noqa: S104 — as it is without
        server = Server(host, bool(re.search(r"autologinLocal: true", text)))
        products.started(device, (PROGRAM, "serve"), server, UNIT, [(host, 5000)], uid=1000)


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (5000,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Say what somebody may do who does not sign in."""
    yield b""
    may = '["STATUS", "PRINT"]' if isinstance(process.state, Server) and process.state.opened else "[]"
    yield products.http(200, f'{{"name": null, "permissions": {may}}}')
