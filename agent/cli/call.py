"""Ask the guard over its socket, and turn its answers into results or errors with their exit codes."""

import json
import os
import select
import socket
import struct
import sys
from typing import Any

from agent.core.errors import PrivetError, Unreachable

FOLDER = "/run/privet"
SHORT = 5.0  # seconds after which whoever waits is told why
PATIENCE = 300.0  # a slow board looks at everything for minutes; a guard that hangs is ended by systemd after six
ANSWER = 8 << 20
BUSY = "privet: the guard is at work; it answers when it has looked at every setting. Waiting ..."


class Answered(PrivetError):
    """The guard refused; its own sentence and exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.exit_code = code


def folder() -> str:
    """Return the folder of the sockets; PRIVET_RUN names another one (simulated devices)."""
    return os.environ.get("PRIVET_RUN", FOLDER)


def call(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request to `<name>.sock` and return the answer; raises the guard's refusal as it was said."""
    answer = asked(f"{folder()}/{name}.sock", request)
    if answer.get("ok") is not True:
        raise Answered(str(answer.get("error", "the guard gave no reason")), int(answer.get("code", 1)))
    return answer


def first_boot() -> str:
    """Say how far the first start is, "" when it is over: while it works the guard does not answer yet."""
    try:
        with open(f"{folder()}/first_boot", encoding="utf-8") as file:
            return file.read(1000).strip()
    except OSError:
        return ""


def asked(path: str, request: dict[str, Any], patience: float = PATIENCE, short: float = SHORT) -> dict[str, Any]:
    """Send one request to a socket and return what is answered within so many seconds; Unreachable else."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            # Not settimeout(): connect(2) would not wait at all when many others are waiting already (unix(7)).
            limit = struct.pack("ll", int(patience), int(patience % 1 * 1e6))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            connection.connect(path)
            connection.settimeout(patience)
            connection.sendall(json.dumps(request).encode() + b"\n")
            if sys.stderr.isatty() and not comes(connection, short):
                print(BUSY, file=sys.stderr)
            return receive(connection)
    except PermissionError as error:
        raise Unreachable(f"you may not talk to the guard at {path}; run it as root (sudo)") from error
    except (TimeoutError, BlockingIOError) as error:
        raise Unreachable(
            f"the guard at {path} is there and did not answer within {patience:g} seconds; "
            "see what it does: systemctl status privet-guard"
        ) from error
    except OSError as error:
        raise Unreachable(
            f"the guard does not answer at {path} ({error.strerror}); start it: systemctl start privet-guard"
        ) from error


def comes(connection: socket.socket, seconds: float) -> bool:
    """Say whether anything comes within so many seconds."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def receive(connection: socket.socket) -> dict[str, Any]:
    """Read one line of JSON."""
    taken = bytearray()
    while not taken.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk or len(taken) > ANSWER:
            raise Unreachable("the guard broke off in the middle of its answer; try again, then look at its log")
        taken += chunk
    answer = json.loads(taken)
    if not isinstance(answer, dict):
        raise Unreachable("the guard's answer makes no sense; are both of the same version?")
    return answer
