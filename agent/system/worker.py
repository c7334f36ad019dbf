"""The vault's child process: takes the state key over its socket, answers requests, ends when idle or orphaned."""

import ctypes
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from agent.core import cbor
from agent.core.cose import Stream
from agent.core.errors import BadInput, Failed, PrivetError
from agent.core.secret import Secret
from agent.system import cores
from agent.system.vault import FRAME, DirectVault, receive, send

PR_SET_PDEATHSIG = 1  # prctl(2)


def main(words: Sequence[str]) -> None:
    """Serve until told otherwise; the words are the socket's descriptor, the parent's process id, idle seconds."""
    descriptor, parent, idle = (int(word) for word in words)
    shut_in(parent)
    with socket.socket(fileno=descriptor) as connection:
        try:
            vault = DirectVault(Secret(cbor.decode(receive(connection), FRAME)))
            connection.settimeout(idle)
            while True:
                request = receive(connection)
                connection.settimeout(None)
                send(connection, answer(vault, request))
                connection.settimeout(idle)
        except (EOFError, OSError):  # the parent closed its end, or nothing came for so long
            return


def shut_in(parent: int) -> None:
    """End with the parent, and let nobody of the same user look into this memory, alive or as a core file."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    cores.none()
    if os.getppid() != parent:  # it died before the first line above
        os._exit(0)


def answer(vault: DirectVault, request: bytes) -> bytes:
    """Do one request; an error travels as its name and sentence."""
    try:
        return cbor.encode([True, done(vault, cbor.decode(request, FRAME))])
    except PrivetError as error:
        return cbor.encode([False, type(error).__name__, str(error)])
    except (ValueError, TypeError, LookupError, OverflowError, MemoryError) as error:
        sentence = f"the vault could not do this ({type(error).__name__}); report it with the journal"
        return cbor.encode([False, Failed.__name__, sentence])


def done(vault: DirectVault, request: list[Any]) -> Any:
    """Do one request."""
    name, *rest = request
    if name == "seal_records":
        return list(vault.seal_records(Secret(rest[0]), stream(rest[1]), [(seq, plain) for seq, plain in rest[2]]))
    if name == "seal":
        return vault.seal(*rest)
    if name == "open":
        return vault.open(*rest)
    if name == "verify_policy":
        return vault.verify_policy(*rest)
    if name == "new_epoch":
        known = {who: Secret(ack) for who, ack in rest[2].items()}
        epoch = vault.new_epoch(stream(rest[0]), [(who, public) for who, public in rest[1]], known, rest[3])
        return [epoch.key.reveal(), {who: ack.reveal() for who, ack in epoch.acks.items()}, epoch.body]
    if name == "new_identity":
        made = vault.new_identity(*rest)
        return [made.key.reveal(), made.request]
    if name == "with_key":
        act, key, *facts = rest
        return vault.with_key(act, Secret(key), *facts)
    if name == "sign_once":
        return list(vault.sign_once(*rest))
    raise BadInput("the vault knows no such request; restart privet so that both are of one version")


def stream(members: list[Any]) -> Stream:
    """Read a stream from the values of its fields."""
    return Stream(**dict(zip(Stream.__slots__, members, strict=True)))
