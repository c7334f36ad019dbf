"""The kernel's own tables of sockets, /proc/<pid>/net: what waits, on which protocol, port and address."""

from agent.core.errors import Missing, PrivetError
from agent.core.record import Record
from agent.system.door import System

LIMIT = 16 << 20
TCP_LISTEN, UDP_OPEN = "0A", "07"  # include/net/tcp_states.h
STATES = {"tcp": TCP_LISTEN, "udp": UDP_OPEN, "udplite": UDP_OPEN, "raw": UDP_OPEN}
PASSING = "/proc/sys/net/ipv4/ip_local_port_range"
LOOPBACK, LINK, ANY = "loopback", "link", "any"


class Socket(Record):
    """One socket that waits: protocol (tcp udp udplite raw packet), port or its number, scope, inode, account."""

    __slots__ = ("inode", "port", "protocol", "scope", "uid")
    protocol: str
    port: int
    scope: str
    inode: int
    uid: int


def passing(system: System) -> range:
    """Return the ports that the kernel hands out to whoever names none."""
    try:
        words = system.read(PASSING, 256).split()
        return range(int(words[0]), int(words[1]) + 1)
    except (PrivetError, ValueError, IndexError):
        return range(32768, 61000)


def tables(system: System, folder: str) -> list[Socket]:
    """Return all sockets of one network that others than the device itself can reach."""
    found: list[Socket] = []
    for protocol, waiting in STATES.items():
        for name in (protocol, protocol + "6"):
            for row in rows(system, f"{folder}/{name}"):
                if len(row) > 9 and row[3] == waiting:
                    address, _, port = row[1].partition(":")
                    found.append(made(protocol, int(port, 16), scope(address), row[9], row[7]))
    for row in rows(system, f"{folder}/packet"):
        if len(row) > 8:
            found.append(made("packet", int(row[3], 16), LINK, row[8], row[7]))
    return [socket for socket in found if socket.scope != LOOPBACK]


def made(protocol: str, port: int, reach: str, inode: str, uid: str) -> Socket:
    """Make one socket of a row."""
    return Socket(protocol=protocol, port=port, scope=reach, inode=int(inode), uid=int(uid))


def rows(system: System, path: str) -> list[list[str]]:
    """Return the lines of a table below its heading as words; none when this kernel does not have it."""
    try:
        text = system.read(path, LIMIT).decode("ascii", "replace")
    except Missing:
        return []
    return [line.split() for line in text.split("\n")[1:] if line]


def scope(hexadecimal: str) -> str:
    """Say who reaches an address of these tables (32-bit groups in the machine's order)."""
    raw = bytes.fromhex(hexadecimal)
    blob = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    if len(blob) == 16 and blob[:12] == b"\0" * 10 + b"\xff\xff":
        blob = blob[12:]
    if len(blob) == 4:
        if blob[0] == 127:
            return LOOPBACK
        return LINK if blob[:2] == b"\xa9\xfe" or blob[0] & 0xF0 == 0xE0 else ANY
    if blob == b"\0" * 15 + b"\1":
        return LOOPBACK
    neighbours = (blob[0] == 0xFE and blob[1] & 0xC0 == 0x80) or (blob[0] == 0xFF and blob[1] & 0x0F < 3)
    return LINK if neighbours else ANY
