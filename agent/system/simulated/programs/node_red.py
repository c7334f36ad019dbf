"""Node-RED: gives tokens for its editor by the users of its settings file, as that was when it started.

Of the settings it knows `username: "…", password: "…"` and `uiHost: "…"` outside line comments, and what `-D` says in
NODE_RED_OPTIONS. It takes no reload: it is started again.
"""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from agent.core.errors import PrivetError
from agent.system import crypt
from agent.system.simulated import products

if TYPE_CHECKING:
    from agent.system.simulated.system import Process, SimulatedSystem

UNIT = "nodered.service"
FILE = "/home/pi/.node-red/settings.js"
USER = re.compile(r'username: "([^"]+)",\s*password: "([^"]+)"')
LIMIT = 5  # refusals of one user, then nobody is let in as that user for ten minutes


class Editor:
    """What a running Node-RED loaded, and whom it refused how often."""

    def __init__(self, users: dict[str, str], defined: dict[str, str]) -> None:
        self.users = users
        self.refused: dict[str, int] = {}
        self.defined = defined


def lay(device: "SimulatedSystem") -> None:
    """Lay down what the makers' script for Raspberry Pis brings, and an owner who agreed to everything."""
    device.edit("/usr/bin/node-red", b"#!/bin/sh\n", mode=0o755)
    device.edit(FILE, b"module.exports = {\n    uiPort: 1880,\n}\n", uid=1000, gid=1000)
    device.edit("/home/pi/.node-red/.config.runtime.json", b'{"telemetryEnabled": true}', uid=1000, gid=1000)
    environment = 'Environment="NODE_OPTIONS=--max_old_space_size=512"\nEnvironment="NODE_RED_OPTIONS=-v"\n'
    start = "ExecStart=/usr/bin/node-red $NODE_OPTIONS $NODE_RED_OPTIONS"
    products.lay_unit(device, UNIT, f"User=pi\n{environment}{start}")


def boot(device: "SimulatedSystem") -> None:
    """Start it where it has settings."""
    try:
        program = device.read(FILE).decode()
    except PrivetError:
        return
    plain = "\n".join(line for line in program.split("\n") if not line.lstrip().startswith(("//", "/*", "*")))
    options = products.environment(device, UNIT).get("NODE_RED_OPTIONS", "")
    defined = {**dict(re.findall(r'(uiHost): "([^"]+)"', plain)), **dict(re.findall(r"-D (\w+)=(\S+)", options))}
    state = Editor(dict(USER.findall(plain)), defined)
    doors = [(defined.get("uiHost", "0.0.0.0"), 1880)]  # noqa: S104 — where it listens unless told otherwise
    products.started(device, ("/usr/bin/node-red",), state, UNIT, doors, uid=1000, pidfile="/run/nodered.pid")


def reload(device: "SimulatedSystem", process: "Process") -> None:
    """Be started again, as whoever looks after it does when the signal has ended it."""
    device.stop(process.pid)
    boot(device)


def ports(process: "Process") -> tuple[int, ...]:
    """Return where it listens."""
    return (1880,)


def answer(device: "SimulatedSystem", process: "Process") -> Generator[bytes, bytes, None]:
    """Answer one request."""
    heard = yield b""
    head, _, body = heard.partition(b"\r\n\r\n")
    editor = process.state
    if isinstance(editor, Editor) and head.startswith(b"GET "):
        page = head.split(b" ")[1]
        there = editor.defined.get("httpAdminRoot") != "false" and page == b"/settings"
        yield products.http(404 if not there else 401 if editor.users else 200)
        return
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
