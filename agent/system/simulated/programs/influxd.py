"""InfluxDB 1: tells its databases to whoever asks, unless it was told to ask for a password."""

from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "influxdb.service"
PROGRAM, FILE = "/usr/bin/influxd", "/etc/influxdb/influxdb.conf"


class Server:
    """What a running InfluxDB loaded."""

    def __init__(self, address: str, asks: bool) -> None:
        self.host, _, self.port = address.rpartition(":")
        self.asks = asks


def lay(device: "SimulatedSystem") -> None:
    """Lay down what its makers' package brings."""
    device.edit(PROGRAM, b"\x7fELF", mode=0o755)
    device.edit(FILE, b'[http]\n  bind-address = ":8086"\n  # auth-enabled = false\n')
    products.lay_unit(device, UNIT, f"EnvironmentFile=-/etc/default/influxdb\nExecStart={PROGRAM} -config {FILE}")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is installed."""
    if products.there(device, PROGRAM):
        lines = [line.strip().partition(" = ") for line in products.text(device, FILE).split("\n")]
        said = {key: value.strip('"') for key, _, value in lines}
        given = products.environment(device, UNIT)
        address = given.get("INFLUXDB_HTTP_BIND_ADDRESS", said.get("bind-address", ":8086"))
        asks = given.get("INFLUXDB_HTTP_AUTH_ENABLED", said.get("auth-enabled", "false")) == "true"
        server = Server(address, asks)
        products.started(device, (PROGRAM,), server, UNIT, [(server.host, int(server.port))], uid=110)


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (int(process.state.port),) if isinstance(process.state, Server) else ()


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Answer one question."""
    heard = yield b""
    if isinstance(process.state, Server):
        page = heard.split(b" ")[1]
        known = page.startswith((b"/query", b"/ping"))
        yield products.http(404 if not known else 401 if process.state.asks and page != b"/ping" else 200)
