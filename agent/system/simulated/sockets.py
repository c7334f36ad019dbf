"""The sockets of a simulated device: which process waits where, as the kernel's tables and /proc/<pid> tell it."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from agent.core.errors import PrivetError

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

TABLES = ("tcp6", "udp", "udp6", "raw", "raw6", "packet")  # tcp is told by sshd, with these rows in it
HEADING = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
STATES = {"tcp": "0A", "udp": "07", "raw": "07"}
EVERYWHERE = "00000000"
LOOPBACK = "0100007F"
TICKS = 100

Row = tuple[str, int, str, int, int]
"""Table, port, address in the table's hexadecimal form, inode, process."""

_rows: "WeakKeyDictionary[SimulatedSystem, list[Row]]" = WeakKeyDictionary()


def listen(device: "SimulatedSystem", process: "Process", table: str, port: int, address: str = EVERYWHERE) -> None:
    """Let a process wait on a port (in `raw` and `packet`: a protocol)."""
    rows = _rows.setdefault(device, [])
    inode = 100_000 + process.pid * 100 + len(rows)
    rows.append((table, port, address, inode, process.pid))
    base = f"/proc/{process.pid}"
    try:
        number = 3 + len(device.entries(base + "/fd"))
    except PrivetError:
        number = 3
    device.hand.link(f"{base}/fd/{number}", f"socket:[{inode}]")
    started = device.uptime * TICKS
    fields = " ".join(["S", *["0"] * 18, str(started), *["0"] * 30])
    device.hand.produced(base + "/stat", f"{process.pid} ({process.name()}) {fields}\n".encode)
    for name in TABLES:
        device.hand.produced(f"/proc/net/{name}", lambda name=name: text(device, name))  # type: ignore[misc]


def text(device: "SimulatedSystem", table: str) -> bytes:
    """Return one table of /proc/net."""
    if table == "packet":
        lines = ["sk       RefCnt Type Proto  Iface R Rmem   User   Inode"]
        lines += [f"0000000000000000 3      3    {port:04x}   2     1 0      0      {inode}"
                  for port, _, inode in waiting(device, table)]  # fmt: skip
        return ("\n".join(lines) + "\n").encode()
    return "\n".join([HEADING, *lines_of(device, table)]).encode() + b"\n"


def lines_of(device: "SimulatedSystem", table: str) -> list[str]:
    """Return the rows of one table below its heading."""
    state = STATES[table.rstrip("6")]
    return [
        f"   0: {address}:{port:04X} {'0' * len(address)}:0000 {state} 00000000:00000000 00:00000000 00000000"
        f"     0        0 {inode} 1 0 100"
        for port, address, inode in waiting(device, table)
    ]


def waiting(device: "SimulatedSystem", table: str) -> list[tuple[int, str, int]]:
    """Return what the processes that still run wait on."""
    alive = {process.pid for process in device.processes}
    rows = _rows.get(device, [])
    return [(port, address, inode) for where, port, address, inode, pid in rows if where == table and pid in alive]
