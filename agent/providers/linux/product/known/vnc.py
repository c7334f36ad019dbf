"""VNC servers of every make, as they answer on the wire: what they ask of whoever wants the screen.

`password` encrypted, password (the classic one: eight characters count, all that follows is readable), none.

What they are configured with differs from make to make; so a server that runs is asked, and one that does not run is
left to `remote.vnc`. None of them can be made to encrypt from outside: what does less than is wanted is not started.
"""

from agent.core.errors import Unreachable
from agent.core.record import Value
from agent.providers.linux.product import unit
from agent.providers.linux.product.look import Process, content, processes
from agent.system.door import System
from agent.system.talk import Conversation

FILES = tuple(f"/usr/bin/{name}" for name in ("wayvnc", "x11vnc", "Xvnc", "Xtigervnc", "Xtightvnc", "vncserver-x11"))
UNITS = ("wayvnc.service", "x11vnc.service", "vncserver-x11-serviced.service", "vncserver-virtuald.service")
PROGRAMS = ("wayvnc", "x11vnc", "Xvnc", "Xtigervnc", "Xtightvnc", "vncserver-x11-core", "Xvnc-core")
RUNS = True
SAFE: dict[str, Value] = {"password": "encrypted"}
GIVEN: dict[str, dict[str, str]] = {}
EDITED = {"password": ("encrypted", "password", "none")}
ORDER = ("encrypted", "password", "none")
VERSION = b"RFB 003.008\n"
NONE, CLASSIC, VENCRYPT = 1, 2, 19
NEVER = "[Unit]\nConditionPathExists=!/\n"
# Of VeNCrypt: a name and password in the clear; encrypted, but nobody is asked.
CLEAR, UNASKED = (256,), (257, 260)


def paths(system: System) -> tuple[str, ...]:
    """Name none: they differ from make to make."""
    return ()


def kept(system: System, what: str, environment: dict[str, str]) -> Value | None:
    """Say that none will start where ours forbids it; else only a running one tells."""
    return SAFE[what] if blocked(system) else None


def blocked(system: System) -> bool:
    """Say whether our drop-in keeps the server that is installed from starting."""
    return NEVER in content(system, unit.own(unit.found(system, UNITS), "vnc")[0])


def live(system: System, what: str, running: tuple[Process, ...]) -> Value | None:
    """Say what the running servers ask for, the least of all."""
    worst = 0
    for door in [door for one in running for door in one.doors]:
        try:
            answer = system.talk(door.port, hello(), 5) if door.near else None
        except Unreachable:
            answer = None
        if answer is None and not door.near:
            return None
        worst = max(worst, ORDER.index(answer) if answer else 0)
    return ORDER[worst]


def hello() -> Conversation[str | None]:
    """Speak RFB as far as the server says what it asks for; None when it speaks something else."""
    heard = yield b""
    if not heard.startswith(b"RFB "):
        return None
    heard = yield VERSION
    while heard and len(heard) <= heard[0]:
        more = yield b""
        if not more:
            break
        heard += more
    offered = heard[1 : 1 + heard[0]] if heard else b""
    if not offered:
        return None
    if NONE in offered:
        return "none"
    if VENCRYPT not in offered:
        return "password" if CLASSIC in offered else "encrypted"
    inner = yield from vencrypt()
    if any(one in inner for one in UNASKED):
        return "none"
    return "password" if CLASSIC in offered or any(one in inner for one in CLEAR) else "encrypted"


def vencrypt() -> Conversation[tuple[int, ...]]:
    """Ask a server that offers VeNCrypt 0.2 for what is within."""
    heard = yield bytes((VENCRYPT,))
    if heard[:2] != b"\0\2":
        return ()
    heard = yield b"\0\2"
    while heard and len(heard) < 2 + 4 * (heard[1] if len(heard) > 1 else 1):
        more = yield b""
        if not more:
            break
        heard += more
    return tuple(int.from_bytes(heard[place : place + 4]) for place in range(2, len(heard) - 3, 4))


def edits(system: System, what: str, option: Value) -> dict[str, str]:
    """Return our drop-in, which keeps the server from starting where that is wanted."""
    now = live(system, what, processes(system, PROGRAMS))
    less = option == SAFE[what] or now is None or ORDER.index(str(now)) > ORDER.index(str(option))
    return {unit.own(unit.found(system, UNITS), "vnc")[0]: unit.NOTE + (NEVER if less else "")}
