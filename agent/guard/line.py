"""A small server for sockets of this device: one JSON object a line in, one a line out, all limits on.

Every client has a bounded line, time and answer; one that breaks a bound is told so and dropped. Any account of the
device may knock, so none may keep others out: each has a share of the places and of each turn, and root has places of
its own.
"""

import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from agent.core.errors import BadInput, PrivetError, Unreachable

LINE = 64 * 1024
CLIENTS = 64  # places for everybody but root, and as many for root
SHARE = 16  # of them for one account
TURN = 0.02  # seconds of one turn for all clients of a socket, in equal parts; what is not answered then waits
IDLE = 0.2  # seconds after which an idle client makes place for a new one, when there is none
PATIENCE = 10.0  # seconds for one line, from its first byte
BACKLOG = 1024  # who waits for the listener; beyond that connect(2) itself has to wait
OUT = 4 << 20
FULL = "too many connections are open; close some of them, or try again in a moment"


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
        self.wait()

    def wait(self) -> None:
        """Wait for what comes next: its ear as long as there is something to say or to answer, else its word."""
        if not self.closed:
            event = selectors.EVENT_WRITE if self.owed or b"\n" in self.taken else selectors.EVENT_READ
            self.server.selector.modify(self.connection, event, self.ready)

    def ready(self, mask: int) -> None:
        """Say what is left to say, else answer what is left to answer, else take what came."""
        if self.owed:
            self.flush()
        elif b"\n" in self.taken or self.take():
            self.serve()

    def take(self) -> bool:
        """Take what came; False when there was nothing."""
        try:
            chunk = self.connection.recv(LINE)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self.server.drop(self)
            return False
        if not self.taken:
            self.since = time.monotonic()
        self.taken += chunk
        return True

    def serve(self) -> None:
        """Answer whole lines, one at least, for this client's part of a turn, and as long as the answers are taken."""
        end = time.monotonic() + TURN / len(self.server.clients)
        lines = self.taken.split(b"\n")
        done = 0
        while done < len(lines) - 1 and not self.owed and not self.closed:
            self.server.answer_line(self, lines[done])
            done += 1
            if time.monotonic() > end:
                break
        self.taken = b"\n".join(lines[done:])
        if done:
            self.since = time.monotonic()
        if len(lines[-1]) > LINE and not self.closed:
            self.reply(refusal(BadInput(f"a line has at most {LINE} bytes; send less at once")))
            self.server.drop(self)
        self.wait()


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
        """Take all who wait; turn away whom there is no place for."""
        for _ in range(BACKLOG):
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            client = Client(self, connection)
            if self.room(client.peer.uid):
                self.clients.add(client)
                self.selector.register(connection, selectors.EVENT_READ, client.ready)
            else:
                turn_away(connection)

    def room(self, uid: int) -> bool:
        """Say whether there is a place for one more client of an account, after asking idle ones to leave.

        An account can fill its own share only; accounts together can fill all places but those of root.
        """
        own = [c for c in self.clients if c.peer.uid == uid]
        if len(own) >= (SHARE if uid else CLIENTS):
            return self.drop_idle(own, IDLE)
        others = [c for c in self.clients if c.peer.uid]
        return not uid or len(others) < CLIENTS or self.drop_idle(others, IDLE)

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

    def tidy(self, heard: float) -> None:
        """Drop clients that have been idle for too long and owe us a line or an ear.

        `heard` is when everybody was last listened to (monotonic): what we were busy with since is not their idleness.
        """
        self.drop_idle(list(self.clients), PATIENCE, heard)

    def drop_idle(self, clients: list[Client], patience: float, now: float | None = None) -> bool:
        """Drop those of the clients that have been idle for so long; say whether there were any."""
        limit = (time.monotonic() if now is None else now) - patience
        idle = [c for c in clients if c.since < limit and not c.waiting]
        for client in idle:
            self.drop(client)
        return bool(idle)

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


def turn_away(connection: socket.socket) -> None:
    """Say that there is no place, and hang up."""
    with suppress(OSError):
        connection.send(json.dumps(refusal(Unreachable(FULL))).encode() + b"\n")
    connection.close()


def listen(path: str, mode: int, gid: int = -1) -> socket.socket:
    """Open a listening Unix socket with exactly these rights, replacing one that a dead process left."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Unreachable(
            f"cannot listen on {path}: what is in its place cannot be removed ({error.strerror}); remove it"
        ) from error
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
