"""mosquitto 2: answers MQTT CONNECT by the password file as it was when it last read it; reads it again on SIGHUP.

Of its configuration it knows `listener`, `pid_file`, `password_file` and `allow_anonymous`; without a listener it is on
port 1883. A file line that is no hash opens nothing.
"""

import base64
import hashlib
from collections.abc import Generator
from typing import TYPE_CHECKING

from agent.core.errors import Missing, PrivetError
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

CONFIGURATION = "/etc/mosquitto/mosquitto.conf"
BAD, UNAUTHORISED = 4, 5


class Broker:
    """What a running broker loaded."""

    def __init__(self) -> None:
        self.ports: tuple[int, ...] = ()
        self.users: dict[bytes, bytes] = {}
        self.anonymous = False


def boot(device: "SimulatedSystem") -> None:
    """Start it where it is configured."""
    try:
        lines = configured(device)
    except Missing:
        return
    device.start(("/usr/sbin/mosquitto",), Broker(), pidfile=dict(lines).get("pid_file", ""))
    for process in device.running("mosquitto"):
        reload(device, process)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Start it, as the real one does at once."""
    boot(device)
    return Outcome(code=0, out=b"", err=b"")


def configured(device: "SimulatedSystem") -> list[tuple[str, str]]:
    """Return the lines of its configuration."""
    pairs = [line.partition(" ") for line in device.read(CONFIGURATION).decode().splitlines()]
    return [(key, value.strip()) for key, _, value in pairs if key and not key.startswith("#")]


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Read the files again."""
    broker = process.state
    if not isinstance(broker, Broker):
        return
    lines = configured(device)
    broker.ports = tuple(int(value.split()[0]) for key, value in lines if key == "listener") or (1883,)
    broker.anonymous = ("allow_anonymous", "true") in lines
    broker.users = {}
    for key, value in lines:
        if key == "password_file":
            try:
                rows = [line.partition(b":") for line in device.read(value).splitlines()]
            except PrivetError:
                rows = []
            broker.users.update({user: field for user, colon, field in rows if colon})


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return process.state.ports if isinstance(process.state, Broker) else ()


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Take one CONNECT and say whether it is let in; anything else is hung up on."""
    heard = yield b""
    if heard[:1] != b"\x10" or not isinstance(process.state, Broker):
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
