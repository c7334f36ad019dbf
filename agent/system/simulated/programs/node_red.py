"""Node-RED: gives tokens for its editor by the users of its settings file, as that was when it started.

Of the settings it knows `username: "…", password: "…"` outside line comments. It takes no reload: it is started again.
"""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from agent.core.errors import PrivetError
from agent.system import crypt
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

FILE = "/home/pi/.node-red/settings.js"
USER = re.compile(r'username: "([^"]+)",\s*password: "([^"]+)"')
LIMIT = 5  # refusals of one user, then nobody is let in as that user for ten minutes


class Editor:
    """What a running Node-RED loaded, and whom it refused how often."""

    def __init__(self, users: dict[str, str]) -> None:
        self.users = users
        self.refused: dict[str, int] = {}


def boot(device: "SimulatedSystem") -> None:
    """Start it where it has settings."""
    try:
        program = device.read(FILE).decode()
    except PrivetError:
        return
    plain = "\n".join(line for line in program.split("\n") if not line.lstrip().startswith("//"))
    device.start(("/usr/bin/node-red",), Editor(dict(USER.findall(plain))), uid=1000, pidfile="/run/nodered.pid")


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Be started again, as systemd does with it."""
    device.stop(process.pid)
    boot(device)


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """Start it."""
    boot(device)
    return Outcome(code=0, out=b"", err=b"")


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (1880,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Answer one request."""
    heard = yield b""
    head, _, body = heard.partition(b"\r\n\r\n")
    editor = process.state
    if not isinstance(editor, Editor) or not head.startswith(b"POST /auth/token ") or not editor.users:
        yield b"HTTP/1.1 404 Not Found\r\n\r\n"
        return
    given = {key: values[0] for key, values in parse_qs(body.decode()).items()}
    user = given.get("username", "")
    if editor.refused.get(user, 0) >= LIMIT:
        yield b"HTTP/1.1 500 Internal Server Error\r\n\r\n"
    elif crypt.matches(given.get("password", ""), editor.users.get(user, "")):
        editor.refused[user] = 0
        yield b'HTTP/1.1 200 OK\r\n\r\n{"access_token":"x"}'
    else:
        editor.refused[user] = editor.refused.get(user, 0) + 1
        yield b"HTTP/1.1 403 Forbidden\r\n\r\n"
