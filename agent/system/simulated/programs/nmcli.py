"""nmcli and the NetworkManager behind it: it goes by the connections as it last loaded them, not by their files.

Of the real one's many words it knows those that a connection file needs: `connection load`, `show`, `up` and `modify`.
"""

from typing import TYPE_CHECKING

from agent.core.errors import PrivetError
from agent.system import conf
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

FOLDER = "/etc/NetworkManager/system-connections"
MAIN, CONF = "/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d"
DAEMON = "/usr/sbin/NetworkManager"
Loaded = dict[str, dict[str, str]]


def boot(device: "SimulatedSystem") -> None:
    """Start NetworkManager where it is installed, and activate every access point."""
    if "eth0" in device.plugged:
        device.hand.produced("/sys/class/net/eth0/operstate", lambda: b"up\n")
        device.hand.produced("/sys/class/net/eth0/device/uevent", lambda: b"DRIVER=smsc95xx\n")
        kind = b"0\n" if bears_own(device) else b"3\n"
        device.hand.produced("/sys/class/net/eth0/addr_assign_type", lambda: kind)
    try:
        files = device.entries(FOLDER)
    except PrivetError:
        return
    loaded: Loaded = {file: read(device, f"{FOLDER}/{file}") for file in files if file[0] != "." and file[-1] != "~"}
    device.start((DAEMON,), (loaded, {file: dict(values) for file, values in loaded.items()}))


def bears_own(device: "SimulatedSystem") -> bool:
    """Say whether the wired network is told the number that the hardware was made with: the last word counts."""
    said = "preserve"
    for path in (MAIN, *(f"{CONF}/{name}" for name in (device.entries(CONF) if exists(device, CONF) else ()))):
        if exists(device, path):
            for row in device.read(path).decode().splitlines():
                key, _, value = row.replace(" ", "").partition("=")
                said = value if key == "ethernet.cloned-mac-address" else said
    return said in {"preserve", "permanent"}


def exists(device: "SimulatedSystem", path: str) -> bool:
    """Say whether a path is there."""
    try:
        device.stat(path)
        return True
    except PrivetError:
        return False


def read(device: "SimulatedSystem", path: str) -> dict[str, str]:
    """Read a connection file; NetworkManager takes none that others may read."""
    if device.stat(path).mode & 0o077:
        return {}
    return dict(line.partition("=")[::2] for line in device.read(path).decode().split("\n") if "=" in line)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Do one thing with connections."""
    if not device.running("NetworkManager"):
        return Outcome(code=8, out=b"", err=b"Error: NetworkManager is not running.\n")
    loaded, active = state(device)
    words = argv[argv.index("connection") + 1 :]
    if words[0] == "load":
        loaded[words[1].rpartition("/")[2]] = read(device, words[1])
        return Outcome(code=0, out=b"", err=b"")
    if words == ("show", "--active"):
        shown = "".join(values.get("uuid", "") + "\n" for values in active.values())
        return Outcome(code=0, out=shown.encode(), err=b"")
    if words[:2] == ("modify", "uuid"):
        return modified(device, loaded, words[2], words[3:])
    for file, values in loaded.items():
        if len(words) == 3 and values.get(words[1]) == words[2]:
            if words[0] == "up":
                active[file] = dict(values)
            return Outcome(code=0, out=values.get("psk", "").encode() + b"\n", err=b"")
    return Outcome(code=10, out=b"", err=b"Error: no such connection profile.\n")


def modified(device: "SimulatedSystem", loaded: Loaded, number: str, wanted: tuple[str, ...]) -> Outcome:
    """Give values to a connection and write its file; what it goes by now stays until it is made anew."""
    files = [file for file, values in loaded.items() if number in (values.get("uuid"), file)]
    if not files:
        return Outcome(code=10, out=b"", err=b"Error: unknown connection.\n")
    path = f"{FOLDER}/{files[0]}"
    text = device.read(path).decode()
    for name, value in zip(wanted[::2], wanted[1::2], strict=True):
        section, _, key = name.partition(".")
        text = conf.changed(text, section, {key: {"yes": "true", "no": "false"}.get(value, value)})
    device.edit(path, text.encode(), mode=0o600)
    loaded[files[0]] = read(device, path)
    return Outcome(code=0, out=b"", err=b"")


def state(device: "SimulatedSystem") -> tuple[Loaded, Loaded]:
    """Return what the running NetworkManager has loaded, and what it goes by now."""
    held: tuple[Loaded, Loaded] = device.running("NetworkManager")[0].state  # type: ignore[assignment]
    return held


def offered(device: "SimulatedSystem") -> tuple[tuple[str, str], ...]:
    """Return name and passphrase of each network that is offered now."""
    active = state(device)[1].values()
    return tuple((values["ssid"], values.get("psk", "")) for values in active if values.get("mode") == "ap")
