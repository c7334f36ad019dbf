"""OctoPrint: goes by the config.yaml that it read at its start; whoever asks is not signed in by that alone."""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "octoprint.service"
PROGRAM, FILE = "/home/pi/oprint/bin/octoprint", "/home/pi/.octoprint/config.yaml"
USERS = "/home/pi/.octoprint/users.yaml"
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

    def __init__(self, host: str, owned: bool) -> None:
        self.host = host
        self.owned = owned


def lay(device: "SimulatedSystem") -> None:
    """Lay it down as OctoPi does, for everybody on the network."""
    device.edit(FILE, TEXT.encode(), uid=1000, gid=1000)
    device.edit(USERS, b"_version: 2\npi:\n  active: true\n", uid=1000, gid=1000, mode=0o600)
    start = f"ExecStart={PROGRAM} serve --host=${{HOST}} --port=${{PORT}}"
    products.lay_unit(device, UNIT, f'User=pi\nEnvironment="HOST=0.0.0.0"\nEnvironment="PORT=5000"\n{start}')


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is set up."""
    if products.there(device, FILE):
        text = products.text(device, FILE)
        host = products.environment(device, UNIT).get("HOST", "0.0.0.0")  # noqa: S104 — as it is without
        owned = bool(re.search(r"firstRun: false", text)) and products.there(device, USERS)
        server = Server(host, owned)
        products.started(device, (PROGRAM, "serve"), server, UNIT, [(host, 5000)], uid=1000)


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (5000,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Say what somebody may do who does not sign in; without an account, also how to make one."""
    heard = yield b""
    server = process.state
    if b" /api/setup/wizard " in heard:
        yield products.http(403 if isinstance(server, Server) and server.owned else 200)
        return
    yield products.http(200, '{"name": null, "permissions": []}')
