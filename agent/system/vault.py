"""The vault: sealing and verifying for a guard that keeps no cipher in its own memory.

cryptography costs a process ten megabytes and more, the guard may have fifteen in all. So the guard asks a vault: in
its own process where memory does not matter (`DirectVault`: tests, simulated fleets), or in a child that lives while
there is work (`WorkerVault`, and `agent.system.worker` on the other end of its socket).
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from agent.core import cbor, errors
from agent.core.cose import Stream
from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.record import Record, values
from agent.core.secret import Secret

FRAME = 8 << 20  # most bytes of one request or answer
BATCH = 2 << 20  # bytes of plaintext sealed in one request
PATIENCE = 60  # seconds a request may take before the child counts as hung
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHILD = (
    "import sys; sys.path[:0] = sys.argv[1].split(chr(10)); from agent.system.worker import main; main(sys.argv[2:])"
)

Pairs = Sequence[tuple[str, bytes]]
Acks = Mapping[str, Secret] | None
Told = Mapping[str, bytes] | None


class Epoch(Record):
    """A fresh epoch: its key, the ack key of each recipient, and the body of the record that opens it."""

    __slots__ = ("acks", "body", "key")
    key: Secret
    acks: dict[str, Secret]
    body: bytes


class NewIdentity(Record):
    """A fresh device identity: private key (PEM, PKCS 8) and certificate request (PEM)."""

    __slots__ = ("key", "request")
    key: Secret
    request: bytes


class Vault(Protocol):
    """What can be asked of a vault. Bad bytes are the errors named here; a vault that dies twice in a row is Failed."""

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal state with the device's state key, bound to `aad`."""

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Open what `seal` made; Tampered when anything differs."""

    def verify_policy(self, message: bytes, keys: Sequence[bytes]) -> bytes:
        """Return the payload of a policy signed by one of the Ed25519 keys; BadPolicy otherwise."""

    def new_epoch(self, stream: Stream, recipients: Pairs, known: Acks = None, told: Told = None) -> Epoch:
        """Make an epoch key for recipients (id, public key), by known ack keys, telling consents; BadPolicy: no key."""

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Seal (seq, plaintext) pairs, seq rising, each seq once in the life of the epoch."""

    def new_identity(self, device: str) -> NewIdentity:
        """Make a key and a certificate request for this device."""

    def with_key(self, act: str, key: Secret, *facts: bytes | str | int) -> Any:
        """Do an act with the device's own key; for whoever asks by `agent.system.identity`."""

    def sign_once(self, payload: bytes) -> tuple[bytes, bytes]:
        """Sign a policy with a key that is forgotten at once; returns its public half and the signed policy."""

    def close(self) -> None:
        """End it; the next request starts it again."""


class DirectVault:
    """A vault in this very process."""

    def __init__(self, state_key: Secret) -> None:
        from agent.system import sealing

        self._sealing = sealing
        self._key = state_key

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal state."""
        return self._sealing.seal(self._key, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Open state."""
        return self._sealing.unseal(self._key, sealed, aad)

    def verify_policy(self, message: bytes, keys: Sequence[bytes]) -> bytes:
        """Return the payload of a signed policy."""
        return self._sealing.verify_policy(message, keys)

    def new_epoch(self, stream: Stream, recipients: Pairs, known: Acks = None, told: Told = None) -> Epoch:
        """Make an epoch key."""
        return self._sealing.new_epoch(stream, recipients, known, told)

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Seal records."""
        return self._sealing.seal_records(key, stream, records)

    def new_identity(self, device: str) -> NewIdentity:
        """Make a device identity."""
        return self._sealing.new_identity(device)

    def with_key(self, act: str, key: Secret, *facts: bytes | str | int) -> Any:
        """Do an act with the device's own key."""
        from agent.system import certifying

        return certifying.ACTS[act](key, *facts)

    def sign_once(self, payload: bytes) -> tuple[bytes, bytes]:
        """Sign a policy with a key that is forgotten at once."""
        return self._sealing.sign_once(payload)

    def close(self) -> None:
        """Nothing is open."""


class WorkerVault:
    """A vault in a child process, started on first use; it ends by itself when idle, and with its parent.

    The state key goes over the inherited socket once, never by argument or environment. A child that dies or hangs is
    replaced and asked once more (every request may be repeated: sealing records is a pure function of its arguments).
    """

    def __init__(self, state_key: Secret, idle: int = 30, patience: float = PATIENCE, program: str = CHILD) -> None:
        self._key = state_key
        self._idle = idle
        self._patience = patience
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self.started = 0

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """Seal state."""
        return bytes(self._ask(["seal", plain, aad]))

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Open state."""
        return bytes(self._ask(["open", sealed, aad]))

    def verify_policy(self, message: bytes, keys: Sequence[bytes]) -> bytes:
        """Return the payload of a signed policy."""
        return bytes(self._ask(["verify_policy", message, list(keys)]))

    def new_epoch(self, stream: Stream, recipients: Pairs, known: Acks = None, told: Told = None) -> Epoch:
        """Make an epoch key."""
        kept = {name: ack.reveal() for name, ack in (known or {}).items()}
        pairs = [list(pair) for pair in recipients]
        key, acks, body = self._ask(["new_epoch", list(values(stream)), pairs, kept, dict(told or {})])
        return Epoch(key=Secret(key), acks={name: Secret(ack) for name, ack in acks.items()}, body=body)

    def seal_records(self, key: Secret, stream: Stream, records: Sequence[tuple[int, bytes]]) -> tuple[bytes, ...]:
        """Seal records, in one round trip as long as they have no more than 2 MiB."""
        sealed: list[bytes] = []
        for some in batches(records):
            sealed += self._ask(["seal_records", key.reveal(), list(values(stream)), some])
        return tuple(sealed)

    def new_identity(self, device: str) -> NewIdentity:
        """Make a device identity."""
        key, request = self._ask(["new_identity", device])
        return NewIdentity(key=Secret(key), request=request)

    def with_key(self, act: str, key: Secret, *facts: bytes | str | int) -> Any:
        """Do an act with the device's own key."""
        return self._ask(["with_key", act, key.reveal(), *facts])

    def sign_once(self, payload: bytes) -> tuple[bytes, bytes]:
        """Sign a policy with a key that is forgotten at once."""
        public, signed = self._ask(["sign_once", payload])
        return bytes(public), bytes(signed)

    def collect(self) -> bool:
        """Take leave of a child that has ended; say whether one is running. Cheap: call it now and then."""
        if self._child is not None and self._child.poll() is not None:
            self.close()
        return self._child is not None

    def close(self) -> None:
        """End the child."""
        if self._socket is not None:
            self._socket.close()
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._child = self._socket = None

    def _ask(self, request: list[Any]) -> Any:
        """Send a request and return its answer; a child that dies or hangs meanwhile is replaced once."""
        message = cbor.encode(request)
        for _ in range(2):
            try:
                return self._answer(message)
            except (OSError, EOFError):
                self.close()
        raise Failed("the process that seals ended twice in a row; free some memory, then restart privet")

    def _answer(self, message: bytes) -> Any:
        """Make one attempt at a request."""
        self.collect()
        connection = self._socket if self._socket is not None else self._start()
        send(connection, message)
        answer = cbor.decode(receive(connection), FRAME)
        if answer[0]:
            return answer[1]
        raise named(answer[1])(answer[2])

    def _start(self) -> socket.socket:
        """Start a child and hand it the state key."""
        ours, theirs = socket.socketpair()
        with theirs:
            words = [folders(), str(theirs.fileno()), str(os.getpid()), str(self._idle)]
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-c", self._program, *words],
                pass_fds=(theirs.fileno(),),
                env={"LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )
        self._socket = ours
        self.started += 1
        ours.settimeout(self._patience)
        send(ours, cbor.encode(self._key.reveal()))
        return ours


def folders() -> str:
    """Return where the child finds our code and its libraries: where this process found them, absolute paths only."""
    return "\n".join([ROOT, *(path for path in sys.path if path.startswith("/") and path != ROOT)])


def batches(records: Sequence[tuple[int, bytes]]) -> list[list[list[Any]]]:
    """Split records so that each request stays within what a frame holds."""
    rising(records)
    made: list[list[list[Any]]] = []
    size = 0
    for seq, plain in records:
        if not made or size + len(plain) > BATCH:
            made.append([])
            size = 0
        made[-1].append([seq, plain])
        size += len(plain) + 100
    return made


def rising(records: Sequence[tuple[int, bytes]]) -> None:
    """Refuse numbers that do not rise: a number sealed twice repeats the nonce, and both plaintexts would show."""
    last = 0
    for seq, _ in records:
        if seq <= last:
            raise Failed("two records have the same number, and sealing both would betray them; restart the guard")
        last = seq


def named(name: str) -> type[PrivetError]:
    """Return the error of this name."""
    found = getattr(errors, name, None)
    return found if isinstance(found, type) and issubclass(found, PrivetError) else Failed


def send(connection: socket.socket, message: bytes) -> None:
    """Send one frame: length, content."""
    if len(message) > FRAME:
        raise BadInput(f"a request to the vault has at most {FRAME} bytes; split it")
    connection.sendall(len(message).to_bytes(4, "big") + message)


def receive(connection: socket.socket) -> bytes:
    """Return one frame; EOFError when the other side is gone."""
    size = int.from_bytes(exactly(connection, 4), "big")
    if size > FRAME:
        raise EOFError
    return exactly(connection, size)


def exactly(connection: socket.socket, size: int) -> bytes:
    """Return so many bytes; EOFError when the other side is gone."""
    content = bytearray()
    while len(content) < size:
        part = connection.recv(min(size - len(content), 1 << 20))
        if not part:
            raise EOFError
        content += part
    return bytes(content)
