"""Bytes on a socket, for greetings and nonsense that no client library will send."""

import contextlib
import socket
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from provisioning.broker.audit.seat import Seat

PATIENCE = 3.0  # seconds
MORE = 0.5  # seconds for an answer that need not come
CONNACK = 0x20
# Reserved kinds, answers nobody asked for, a subscription before the greeting, lengths and texts that cannot be.
NONSENSE = (
    bytes(range(256)) * 8,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x00\x00",
    b"\xf0\x00",
    b"\x10\xff\xff\xff\xff\x7f",
    b"\x10\xff\xff\xff\x7f" + b"\x00" * 4096,
    b"\x10\x00",
    b"\x10\x0c\x00\x04MQTT\x63\x02\x00\x3c\x00\x00",
    b"\x10\x0c\x00\x04XXXX\x04\x02\x00\x3c\x00\x00",
    b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\xff\xc3\x28",
    b"\x20\x02\x00\x00",
    b"\x62\x02\x00\x01",
    b"\x30\x07\x00\x05a\x00b#+",
    b"\x36\x05\x00\x01a\x00\x01",
)
SUBSCRIBE_FIRST = b"\x82\x06\x00\x01\x00\x01#\x00"


def connect_packet(name: str, user: str = "", password: str = "") -> bytes:
    """Return the CONNECT of MQTT 3.1.1, which every broker understands, for ports where nobody else would ask."""
    flags = 0x02 | (0x80 if user else 0) | (0x40 if password else 0)
    body = b"\x00\x04MQTT\x04" + bytes([flags]) + b"\x00\x3c"
    for text in (name, *([user] if user else []), *([password] if password else [])):
        body += len(text.encode()).to_bytes(2, "big") + text.encode()
    return b"\x10" + _length(len(body)) + body


def _length(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


@contextmanager
def plain(seat: Seat, port: int) -> Iterator[socket.socket]:
    """Open a connection without TLS."""
    with socket.create_connection((seat.target.host, port), timeout=PATIENCE) as link:
        yield link


@contextmanager
def secured(seat: Seat, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    """Open a TLS connection to the broker; the handshake is over when it is given."""
    with (
        socket.create_connection((seat.target.host, seat.target.port), timeout=PATIENCE) as link,
        context.wrap_socket(link, server_hostname=seat.target.host) as tls,
    ):
        yield tls


def greeted(link: socket.socket, packet: bytes) -> int | None:
    """Send a CONNECT; return the code of the answer (0: welcome), None when there is no MQTT answer."""
    answer = b""
    try:
        link.sendall(packet)
        while len(answer) < 4:
            more = link.recv(4 - len(answer))
            if not more:
                break
            answer += more
    except OSError:
        return None
    return answer[3] if len(answer) == 4 and answer[0] == CONNACK else None


def said_after(link: socket.socket, *packets: bytes) -> bytes | None:
    """Send what comes; return what is answered within a short while, None when the connection is closed."""
    link.settimeout(MORE)
    try:
        for packet in packets:
            link.sendall(packet)
        return link.recv(4096) or None
    except TimeoutError:
        return b""
    except OSError:
        return None


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context offer nothing newer than TLS 1.1."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def only(context: ssl.SSLContext, ciphers: str) -> ssl.SSLContext | None:
    """Let a context offer TLS 1.2 with these suites alone; None when our own OpenSSL has none of them."""
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with contextlib.suppress(ssl.SSLError):
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        return context
    return None
