"""Asking a hand: a process that holds one strong power, knows a few words, and ends when nothing more is asked.

So the guard, which runs for years and reads whatever lies on the device, holds none of these powers itself. systemd
starts a hand at the first word on its socket (`provisioning/package/privet-hand-*`); its vocabulary is
`agent/hand/words.py`. Where there is no such socket (no systemd, a device of the tests), the asker acts by itself.

Both ways: a length of 4 bytes (big endian) and one CBOR array. `[verb, …]` is asked; `["done", …]` or
`["refused", kind of error, sentence]` comes back, with an open file beside it where one was asked for.
"""

import os
import re
import socket
import time
from typing import Any

from agent.core import cbor, errors
from agent.core.errors import Failed, PrivetError, Unreachable

FOLDER = "/run/privet-hands"
LIMIT = 17 << 20  # bytes of one array: twice what a program may print, and a little
HEAD = 4
FRESH = 3.0  # seconds after its last answer in which a hand is asked again; it waits longer, so it is still there
PATIENCE = 60.0  # seconds a hand has to start, beyond what it is given for its work

PROGRAMS = {
    **dict.fromkeys(("nft",), "net"),
    **dict.fromkeys(("sysctl", "udevadm"), "kernel"),
    **dict.fromkeys(("chpasswd", "pdbedit", "pwconv", "smbpasswd", "sudo", "unix_chkpwd"), "accounts"),
    **dict.fromkeys(("tee", "wall"), "terminal"),
    **dict.fromkeys(("smbclient", "ssh", "ssh-keyscan"), "door"),
}
PROCESS = re.compile(r"/proc/[1-9][0-9]{0,9}/(?:environ|exe|root|stat|ns/net|fd|fd/[0-9]{1,9})")
SCREEN = "/dev/tty1"


def of_path(path: str) -> str:
    """Name the hand that looks at a path, empty when nobody's power is needed for it."""
    return "look" if PROCESS.fullmatch(path) else "terminal" if path == SCREEN else ""


class Hands:
    """The hands of this device. `folder` is where their sockets are."""

    def __init__(self, folder: str = FOLDER) -> None:
        self.folder = folder
        self.lines: dict[str, tuple[socket.socket, float]] = {}

    def there(self, name: str) -> bool:
        """Say whether there is such a hand."""
        return bool(name) and os.path.exists(f"{self.folder}/{name}.sock")

    def ask(self, name: str, *request: object, seconds: float = 10) -> list[Any]:
        """Ask for something; return what was answered, or raise the error that the hand met."""
        return self._exchange(name, request, seconds)[0]

    def lend(self, name: str, *request: object) -> int:
        """Ask for an open file or socket; return its number."""
        _, numbers = self._exchange(name, request, 10)
        if len(numbers) != 1:
            raise Failed(f"the hand {name} gave nothing; see journalctl -u 'privet-hand-{name}@*'")
        return numbers[0]

    def close(self) -> None:
        """Let all of them end."""
        for line, _ in self.lines.values():
            line.close()
        self.lines.clear()

    def _exchange(self, name: str, request: tuple[object, ...], seconds: float) -> tuple[list[Any], list[int]]:
        line = self._line(name)
        line.settimeout(seconds + PATIENCE)
        try:
            line.sendall(packed(request))
            answer, numbers = received(line)
        except (OSError, PrivetError) as error:
            line.close()
            why = f"the hand {name} gave no answer ({error}); see journalctl -u 'privet-hand-{name}@*'"
            raise Unreachable(why) from None
        if not answer:
            line.close()
            raise Unreachable(f"the hand {name} ended; see journalctl -u 'privet-hand-{name}@*'")
        self.lines[name] = line, time.monotonic()
        if answer[0] == "done":
            return answer[1:], numbers
        raise failure(answer)

    def _line(self, name: str) -> socket.socket:
        """Return the line to a hand that was asked a moment ago, else begin another."""
        line, when = self.lines.pop(name, (None, 0.0))
        if line is not None and time.monotonic() - when < FRESH:
            return line
        if line is not None:
            line.close()
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(f"{self.folder}/{name}.sock")
        except OSError as error:
            line.close()
            see = f"see systemctl status privet-hand-{name}.socket"
            raise Unreachable(f"the hand {name} cannot be reached ({error.strerror}); {see}") from None
        return line


def packed(fields: tuple[object, ...]) -> bytes:
    """Return one message."""
    array = cbor.encode(list(fields))
    return len(array).to_bytes(HEAD, "big") + array


def received(line: socket.socket) -> tuple[list[Any], list[int]]:
    """Take one message and the open files that came with it; an empty one when the other side hung up."""
    content, numbers, _, _ = socket.recv_fds(line, HEAD, 1)
    while 0 < len(content) < HEAD and (part := line.recv(HEAD - len(content))):
        content += part
    length = int.from_bytes(content, "big")
    if len(content) < HEAD:
        return [], numbers
    if length > LIMIT:
        raise errors.BadInput(f"a message of {length} bytes is longer than any there is")
    array = bytearray()
    while len(array) < length and (part := line.recv(min(1 << 16, length - len(array)))):
        array += part
    message = cbor.decode(bytes(array), LIMIT)
    if type(message) is not list or not message:
        raise errors.BadInput("a message is no list")
    return message, numbers


def failure(answer: list[Any]) -> PrivetError:
    """Make of an answer the error that the hand met."""
    kind = getattr(errors, str(answer[1]), Failed) if len(answer) == 3 else Failed
    if not (isinstance(kind, type) and issubclass(kind, PrivetError)):
        kind = Failed
    return kind(str(answer[-1]))
