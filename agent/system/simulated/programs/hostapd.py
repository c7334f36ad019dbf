"""hostapd: offers the networks of its file as they were when it last read it; on SIGHUP it reads it again.

`offered` says which keys it would take from a station: there is no radio, and no station, on a simulated device.
"""

import hashlib
from functools import cache
from typing import TYPE_CHECKING

from agent.core.errors import Missing

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

FILE = "/etc/hostapd/hostapd.conf"


@cache
def derived(passphrase: bytes, name: bytes) -> bytes:
    """Return the key of a passphrase."""
    return hashlib.pbkdf2_hmac("sha1", passphrase, name, 4096, 32)


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is configured."""
    try:
        device.stat(FILE)
    except Missing:
        return
    reload(device, device.start(("/usr/sbin/hostapd", FILE), None, pidfile="/run/hostapd.pid"))


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Read the file again; a passphrase of a wrong length makes it keep what it has."""
    made: list[tuple[bytes, bytes]] = []
    name = b""
    for line in device.read(FILE).split(b"\n"):
        word, _, value = line.partition(b"=")
        if word == b"ssid":
            name = value
        elif word == b"wpa_passphrase":
            if not 8 <= len(value) <= 63:
                return
            made.append((name, derived(value, name)))
    process.state = made


def offered(device: "SimulatedSystem") -> tuple[tuple[bytes, bytes], ...]:
    """Return name and key of each network that is offered now."""
    return tuple(pair for process in device.running("hostapd") for pair in process.state)  # type: ignore[attr-defined]
