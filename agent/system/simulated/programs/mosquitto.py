"""mosquitto 2: answers MQTT CONNECT by the password file as it was when it last read it; reads it again on SIGHUP.

Of its configuration it knows `include_dir`, `listener`, `certfile` with `keyfile` (then it takes nothing in the clear),
`pid_file`, `password_file` and `allow_anonymous`; without a listener it is on port 1883 for this device alone. A file
line that is no hash opens nothing.
"""

import base64
import hashlib
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError
from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "mosquitto.service"
CONFIGURATION = "/etc/mosquitto/mosquitto.conf"
BAD, UNAUTHORISED = 4, 5


class Broker:
    """What a running broker loaded: where it listens, whether whoever gives no name gets in, its users."""

    def __init__(self) -> None:
        self.doors: list[tuple[str, int]] = []
        self.users: dict[bytes, bytes] = {}
        self.anonymous = False
        self.encrypted = False


def lay(device: "SimulatedSystem") -> None:
    """Lay down what Debian brings, and a listener that is open to all."""
    device.edit(CONFIGURATION, b"pid_file /run/mosquitto/mosquitto.pid\ninclude_dir /etc/mosquitto/conf.d\n")
    device.edit("/etc/mosquitto/conf.d/local.conf", b"listener 1883\nallow_anonymous true\n")
    products.lay_unit(device, UNIT, "ExecStart=/usr/sbin/mosquitto")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is configured."""
    try:
        lines = configured(device)
    except Missing:
        return
    broker = loaded(device, Broker(), lines)
    given: dict[str, str] = dict(lines)
    products.started(device, ("/usr/sbin/mosquitto",), broker, UNIT, broker.doors, pidfile=given.get("pid_file", ""))


def configured(device: "SimulatedSystem", path: str = CONFIGURATION) -> list[tuple[str, str]]:
    """Return the lines of its configuration."""
    found = []
    for line in device.read(path).decode().splitlines():
        key, _, value = line.partition(" ")
        if key == "include_dir":
            for name in products.listing(device, value):
                found += configured(device, f"{value}/{name}") if name.endswith(".conf") else []
        elif key and not key.startswith("#"):
            found.append((key, value.strip()))
    return found


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Read the files again; where it listens stays."""
    if isinstance(process.state, Broker):
        loaded(device, process.state, configured(device))


def loaded(device: "SimulatedSystem", broker: Broker, lines: list[tuple[str, str]]) -> Broker:
    """Take up a configuration. Without a listener it is there for this device alone, and then asks nobody's name."""
    said = [value.split() for key, value in lines if key == "listener"]
    broker.doors = broker.doors or [(([*words, ""])[1], int(words[0])) for words in said] or [("localhost", 1883)]
    told = [value for key, value in lines if key == "allow_anonymous"]
    broker.anonymous = (told or ["false"])[-1] == "true" or not said
    broker.encrypted = {"certfile", "keyfile"} <= {key for key, _ in lines}
    broker.users = {}
    for key, value in lines:
        if key == "password_file":
            try:
                rows = [line.partition(b":") for line in device.read(value).splitlines()]
            except PrivetError:
                rows = []
            broker.users.update({user: field for user, colon, field in rows if colon})
    return broker


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return tuple(port for _, port in process.state.doors) if isinstance(process.state, Broker) else ()


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Take one CONNECT and say whether it is let in; anything else is hung up on."""
    heard = yield b""
    if heard[:1] != b"\x10" or not isinstance(process.state, Broker) or process.state.encrypted:
        return
    fields = heard[2 if heard[1] < 128 else 3 :][10:]
    words = []
    while len(fields) >= 2:
        size = int.from_bytes(fields[:2], "big")
        words.append(fields[2 : 2 + size])
        fields = fields[2 + size :]
    yield b"\x20\2\0" + bytes((judged(process.state, words[1:]),))


def judged(broker: Broker, words: list[bytes]) -> int:
    """Return the code of the answer for a user and a password."""
    if not words:
        return 0 if broker.anonymous else UNAUTHORISED
    field = broker.users.get(words[0], b"")
    return 0 if len(words) == 2 and fits(words[1], field) else UNAUTHORISED


def fits(password: bytes, field: bytes) -> bool:
    """Say whether a password belongs to a field."""
    parts = field.split(b"$")
    if parts[:2] == [b"", b"6"]:
        return hashlib.sha512(password + base64.b64decode(parts[2])).digest() == base64.b64decode(parts[3])
    if parts[:2] == [b"", b"7"]:
        made = hashlib.pbkdf2_hmac("sha512", password, base64.b64decode(parts[3]), int(parts[2]))
        return made == base64.b64decode(parts[4])
    return False
