"""Speaking to a program that listens on this device's own loopback; there is no way to name another machine.

A conversation is a generator: it yields what to say (b"": nothing, only listen) and is given what was heard since, b""
once the other end hung up. What it returns is the result. So a protocol is a plain function, tested without a socket.
"""

import socket
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from agent.core.errors import BadInput, Unreachable

T = TypeVar("T")
Conversation = Generator[bytes, bytes, T]

ADDRESSES = ("127.0.0.1", "::1")
CHUNK = 1 << 16
LIMIT = 1 << 20  # bytes heard in one conversation


def talk(port: int, conversation: Conversation[T], seconds: int = 10, line: socket.socket | None = None) -> T:
    """Hold a conversation with whoever listens on a TCP port of this device; Unreachable when nobody does.

    `line`: the connection, where somebody else made it.
    """
    deadline = time.monotonic() + seconds
    with line or connected(port, seconds) as open_line:

        def exchange(said: bytes) -> bytes:
            """Say something, then wait for an answer."""
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unreachable(late(port, seconds))
            open_line.settimeout(left)
            try:
                open_line.sendall(said)
                return open_line.recv(CHUNK)
            except TimeoutError:
                raise Unreachable(late(port, seconds)) from None
            except OSError:
                return b""  # it hung up; what that means is for the conversation to say

        return held(port, conversation, exchange)


def late(port: int, seconds: int) -> str:
    """Return the sentence about a port that does not answer in time."""
    return "what listens on port %d did not answer within %d seconds; see its journal" % (port, seconds)


def connected(port: int, seconds: int) -> socket.socket:
    """Connect over IPv4, else over IPv6.

    Not by create_connection: it has the address looked up as if it were a name, and the tables of international names
    that this loads would stay with the guard for good (0.4 MB).
    """
    if not 0 < port < 65536:
        raise BadInput("%d is no port; name one from 1 to 65535" % port)
    for address in ADDRESSES:
        line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        line.settimeout(seconds)
        try:
            line.connect((address, port))
        except OSError:
            line.close()
            continue
        return line
    raise Unreachable("nothing listens on port %d of this device; start what should" % port)


def held(port: int, conversation: Conversation[T], exchange: Callable[[bytes], bytes]) -> T:
    """Carry a conversation to its end over any kind of line."""
    heard = 0
    try:
        said = next(conversation)
        while True:
            part = exchange(said)
            heard += len(part)
            if heard > LIMIT:
                raise Unreachable("what listens on port %d said more than %d bytes; see its journal" % (port, LIMIT))
            said = conversation.send(part)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        conversation.close()


def post(path: str, form: str, body: bytes) -> Conversation[int | None]:
    """Speak HTTP: send a body of some content type to a path, and return the status, None when no HTTP comes back."""
    head = "POST %s HTTP/1.0\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    heard = yield (head % (path, form, len(body))).encode() + body
    while heard and b"\n" not in heard:
        more = yield b""
        if not more:
            break
        heard += more
    words = heard.split(b"\n", 1)[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].strip().isdigit():
        return None
    return int(words[1])
