"""A small server for sockets of this device: one JSON object a line in, one a line out, all limits on.

Every client has a bounded line, time and answer; one that breaks a bound is told so and dropped.
"""

import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable

from agent.core.errors import BadInput, PrivetError

LINE = 64 * 1024
CLIENTS = 64
PATIENCE = 10.0
BACKLOG = 64
OUT = 4 << 20


class Peer:
    """Who is at the other end, by the kernel's word (SO_PEERCRED, socket(7))."""

    def __init__(self, connection: socket.socket) -> None:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self.pid, self.uid, self.gid = struct.unpack("3i", raw)


Reply = dict[str, object] | None
Answer = Callable[["Client", dict[str, object]], Reply]


class Client:
    """One connection; `reply(answer)` may be called later when the answer to a request is None."""

    def __init__(self, server: "LineServer", connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        self.peer = Peer(connection)
        self.taken = b""
        self.owed = b""
        self.waiting = 0
        self.since = time.monotonic()
        self.closed = False

    def reply(self, answer: dict[str, object]) -> None:
        """Send one answer, or drop a client that does not read its answers."""
        if self.closed:
            return
        self.owed += json.dumps(answer, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        if len(self.owed) > OUT:
            self.server.drop(self)
            return
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self.owed:
                self.owed = self.owed[self.connection.send(self.owed) :]
        except BlockingIOError:
            pass
        except OSError:
            self.server.drop(self)
            return
        if not self.closed:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.owed else 0)
            self.server.selector.modify(self.connection, events, self.ready)

    def ready(self, mask: int) -> None:
        """Take what came and answer every whole line."""
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if not mask & selectors.EVENT_READ or self.closed:
            return
        try:
            chunk = self.connection.recv(LINE)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.server.drop(self)
            return
        self.taken += chunk
        self.since = time.monotonic()
        while b"\n" in self.taken and not self.closed:
            line, self.taken = self.taken.split(b"\n", 1)
            self.server.answer_line(self, line)
        if len(self.taken) > LINE and not self.closed:
            self.reply(refusal(BadInput(f"a line has at most {LINE} bytes; send less at once")))
            self.server.drop(self)


def refusal(error: PrivetError) -> dict[str, object]:
    """Write an error for the wire."""
    return {"ok": False, "error": str(error), "code": error.exit_code}


class LineServer:
    """Listen on one path; `answer(client, request)` returns the reply, or None to reply later."""

    def __init__(self, selector: selectors.BaseSelector, path: str, mode: int, answer: Answer, gid: int = -1) -> None:
        self.selector = selector
        self.path = path
        self.answer = answer
        self.clients: set[Client] = set()
        self.listener = listen(path, mode, gid)
        selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self, mask: int) -> None:
        """Take a new client, or turn it away when the house is full."""
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        if len(self.clients) >= CLIENTS:
            self.tidy(0.2)
        if len(self.clients) >= CLIENTS:
            connection.close()
            return
        client = Client(self, connection)
        self.clients.add(client)
        self.selector.register(connection, selectors.EVENT_READ, client.ready)

    def answer_line(self, client: Client, line: bytes) -> None:
        """Read one request and answer it; bad input is answered, never raised."""
        try:
            request = json.loads(line, parse_float=str, parse_constant=str)
            if not isinstance(request, dict):
                raise BadInput("a request is one JSON object a line; see privet --help")
            reply = self.answer(client, request)
        except PrivetError as error:
            reply = refusal(error)
        except (ValueError, RecursionError):
            reply = refusal(BadInput("a request is one JSON object a line; this was something else"))
        if reply is not None:
            client.reply(reply)

    def tidy(self, patience: float = PATIENCE) -> None:
        """Drop clients that have been idle for too long and owe us a line or an ear."""
        limit = time.monotonic() - patience
        for client in [c for c in self.clients if c.since < limit and not c.waiting]:
            self.drop(client)

    def drop(self, client: Client) -> None:
        """Close one client."""
        if client.closed:
            return
        client.closed = True
        self.clients.discard(client)
        self.selector.unregister(client.connection)
        client.connection.close()

    def close(self) -> None:
        """Stop listening and drop everyone."""
        for client in list(self.clients):
            self.drop(client)
        self.selector.unregister(self.listener)
        self.listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)


def listen(path: str, mode: int, gid: int = -1) -> socket.socket:
    """Open a listening Unix socket with exactly these rights, replacing one that a dead process left."""
    if os.path.lexists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    if gid >= 0:
        os.chown(path, -1, gid)
    os.chmod(path, mode)
    listener.listen(BACKLOG)
    return listener
