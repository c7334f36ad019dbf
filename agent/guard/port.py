"""The guard's side of the courier's socket: sealed bytes out; acknowledgements and signed policies in; nothing else.

Frames are a length (u32, big endian, at most FRAME) and one CBOR array. One courier at a time, and only the account it
is meant to run as.
"""

import selectors
import socket
import struct
from collections.abc import Callable
from typing import Any

from agent.core import cbor
from agent.core.errors import BadInput, PrivetError
from agent.guard.line import Peer, listen

FRAME = 320 * 1024
OWED = 16 << 20

Heard = Callable[[list[Any]], None]


class Courier:
    """One connected courier."""

    def __init__(self, port: "Port", connection: socket.socket) -> None:
        self.port = port
        self.connection = connection
        self.taken = b""
        self.owed = bytearray()
        connection.setblocking(False)
        port.selector.register(connection, selectors.EVENT_READ, self.ready)

    def tell(self, message: list[Any]) -> None:
        """Send one array; a courier that does not listen is dropped, its records are still in the queue."""
        raw = cbor.encode(message)
        self.owed += struct.pack(">I", len(raw)) + raw
        if len(self.owed) > OWED:
            self.port.lose()
            return
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now."""
        try:
            while self.owed:
                del self.owed[: self.connection.send(self.owed)]
        except BlockingIOError:
            pass
        except OSError:
            self.port.lose()
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.owed else 0)
        self.port.selector.modify(self.connection, mask, self.ready)

    def ready(self, mask: int) -> None:
        """Take what came."""
        if mask & selectors.EVENT_WRITE:
            self.flush()
        if not mask & selectors.EVENT_READ or self.port.courier is not self:
            return
        try:
            chunk = self.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.port.lose()
            return
        self.taken += chunk
        try:
            self.frames()
        except PrivetError:
            self.port.lose()

    def frames(self) -> None:
        """Hand over every whole frame; a malformed one raises BadInput and ends the connection."""
        while len(self.taken) >= 4:
            (length,) = struct.unpack(">I", self.taken[:4])
            if length > FRAME:
                raise BadInput("the courier sent an oversized frame and was dropped")
            if len(self.taken) < 4 + length:
                return
            frame, self.taken = self.taken[4 : 4 + length], self.taken[4 + length :]
            message = cbor.decode(frame, FRAME)
            if not isinstance(message, list) or not message or not isinstance(message[0], str):
                raise BadInput("the courier sent something that is no message and was dropped")
            self.port.heard(message)


class Port:
    """Listen for the courier, or be handed a connection (simulated fleets)."""

    def __init__(
        self, selector: selectors.BaseSelector, heard: Heard, changed: Callable[[Courier | None], None], uid: int
    ) -> None:
        self.selector = selector
        self.heard = heard
        self.changed = changed
        self.uid = uid
        self.courier: Courier | None = None
        self.listener: socket.socket | None = None

    def open(self, path: str, gid: int) -> None:
        """Listen on a path that only root and the courier's group can reach."""
        self.listener = listen(path, 0o660, gid)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)

    def accept(self, mask: int) -> None:
        """Take the courier; anyone else is turned away. A second one replaces a first that died unnoticed."""
        if self.listener is None:
            return
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        if Peer(connection).uid not in (self.uid, 0):
            connection.close()
            return
        self.attach(connection)

    def attach(self, connection: socket.socket) -> None:
        """Use this connection from now on."""
        self.lose()
        self.courier = Courier(self, connection)
        self.changed(self.courier)

    def lose(self) -> None:
        """Forget the courier; what it had is sent again to the next one."""
        gone, self.courier = self.courier, None
        if gone is not None:
            self.selector.unregister(gone.connection)
            gone.connection.close()
            self.changed(None)

    def close(self) -> None:
        """Stop listening."""
        self.lose()
        if self.listener is not None:
            self.selector.unregister(self.listener)
            self.listener.close()
