"""Products that people add to the simulated device: what the kernel shows of each, and what its unit starts it with.

A program of `programs/` that is one has `UNIT`, `lay(device)` (what a usual image with it brings, with the looseness it
has there), `boot(device)` and what else a daemon has. No device has one unless it is laid down.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.core.errors import PrivetError

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
PROGRAMS = {"mosquitto": "mosquitto", "node_red": "node_red", "grafana": "grafana_server", "influxdb": "influxd"}
UNITS = "/usr/lib/systemd/system"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def lay(device: "SimulatedSystem", product: str) -> None:
    """Lay down a product, enabled."""
    program = importlib.import_module(f"agent.system.simulated.programs.{PROGRAMS[product]}")
    program.lay(device)
    device.hand.link(f"/etc/systemd/system/multi-user.target.wants/{program.UNIT}", f"{UNITS}/{program.UNIT}")


def lay_unit(device: "SimulatedSystem", unit: str, service: str) -> None:
    """Lay down a unit."""
    text = f"[Unit]\nDescription=A product\n[Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n"
    device.edit(f"{UNITS}/{unit}", text.encode())


def text(device: "SimulatedSystem", path: str) -> str:
    """Return the text of a file, empty when it is not there."""
    try:
        return device.read(path).decode()
    except PrivetError:
        return ""


def there(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a path is there."""
    try:
        device.stat(path)
    except PrivetError:
        return False
    return True


def listing(device: "SimulatedSystem", path: str) -> tuple[str, ...]:
    """Return the names in a directory, none when it is not there."""
    try:
        return device.entries(path)
    except PrivetError:
        return ()


def environment(device: "SimulatedSystem", unit: str) -> dict[str, str]:
    """Return the variables that a unit starts its program with; a file's win."""
    parts: dict[str, str] = {}
    for place in reversed(PLACES):
        parts.update({name: f"{place}/{unit}.d/{name}" for name in listing(device, f"{place}/{unit}.d")})
    parts = {name: path for name, path in parts.items() if name.endswith(".conf")}
    rows = [text(device, path) for path in (f"{UNITS}/{unit}", *(parts[name] for name in sorted(parts)))]
    lines = [line.partition("=") for row in rows for line in row.split("\n")]
    table = [value.strip('"') for key, _, value in lines if key == "Environment"]
    for key, _, value in lines:
        if key == "EnvironmentFile":
            table += [line.replace('"', "") for line in text(device, value.lstrip("-")).split("\n") if "=" in line]
    return dict(line.partition("=")[::2] for line in table)


def started(
    device: "SimulatedSystem",
    argv: tuple[str, ...],
    state: object,
    unit: str,
    doors: Sequence[tuple[str, int]],
    uid: int = 0,
    pidfile: str = "",
) -> "Process":
    """Start a daemon with what its unit gives it; it listens at addresses (127.0.0.1 or any other) and ports."""
    process = device.start(argv, state, uid, pidfile)
    base = f"/proc/{process.pid}"
    given = "".join(f"{key}={value}\0" for key, value in environment(device, unit).items())
    rows = HEAD
    for place, (address, port) in enumerate(doors):
        inode = process.pid * 1000 + place
        device.hand.link(f"{base}/fd/{place + 3}", f"socket:[{inode}]")
        local = "0100007F" if address in ("127.0.0.1", "localhost") else "00000000"
        rows += f"   0: {local}:{port:04X} 00000000:0000 0A 0:0 0:0 0     0        0 {inode} 1 0 100\n"
    device.hand.produced(f"{base}/net/tcp", rows.encode)
    device.hand.produced(f"{base}/environ", given.encode)
    fields = " ".join(("S", *["0"] * 50))
    device.hand.produced(f"{base}/stat", f"{process.pid} ({process.name()}) {fields}\n".encode)
    device.hand.link(f"/run/systemd/units/invocation:{unit}", str(process.pid))
    return process


def http(status: int, body: str = "") -> bytes:
    """Return an answer."""
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode()
