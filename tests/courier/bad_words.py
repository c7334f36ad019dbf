"""What answers there and is no broker: plain words of others, broken greetings, and choices that nobody offered."""

import os
import socket
import struct
import time
from collections.abc import Callable

Script = Callable[[socket.socket], None]


def hello(cipher: int, version: int = 0x0303, *, compression: int = 0, last: bytes = b"", more: bytes = b"") -> Script:
    """Answer the greeting with a choice that was never offered."""

    def say(link: socket.socket) -> None:
        """Say it."""
        link.recv(4096)
        random = os.urandom(32 - len(last)) + last
        body = struct.pack(">H", version) + random + b"\0" + struct.pack(">HB", cipher, compression)
        body += struct.pack(">H", len(more)) + more if more else b""
        message = b"\2" + len(body).to_bytes(3, "big") + body
        link.sendall(b"\x16" + struct.pack(">HH", min(version, 0x0303), len(message)) + message)
        link.recv(4096)

    return say


def answers(content: bytes, *, first: bool = False) -> Script:
    """Say something that is no greeting, and wait."""

    def say(link: socket.socket) -> None:
        """Say it."""
        if not first:
            link.recv(4096)
        link.sendall(content)
        link.recv(4096)

    return say


def refusing(number: int) -> Script:
    """Refuse with one of TLS's own words."""
    return answers(bytes([0x15, 3, 3, 0, 2, 2, number]))


def mute(link: socket.socket) -> None:
    """Take the greeting and say nothing."""
    while link.recv(4096):
        pass


def drip(link: socket.socket) -> None:
    """Give a byte now and then of a greeting that never ends."""
    link.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
    while True:
        link.sendall(b"\x03")
        time.sleep(0.5)


def echo(link: socket.socket) -> None:
    """Say back what was said."""
    while content := link.recv(4096):
        link.sendall(content)


def reset(link: socket.socket) -> None:
    """End the connection without a goodbye."""
    link.recv(10)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hang_up(link: socket.socket) -> None:
    """Take the greeting and end it."""
    link.recv(4096)


def half(link: socket.socket) -> None:
    """Begin a record and end the connection."""
    link.recv(4096)
    link.sendall(b"\x16\x03\x03\x00\x7a\x02\x00")


RAW: dict[str, Script] = {
    "MQTT without TLS": answers(bytes.fromhex("20020000") * 4),
    "a web server": answers(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html></html>"),
    "SSH": answers(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", first=True),
    "a mail server": answers(b"220 mail.example ESMTP Postfix\r\n", first=True),
    "bytes without a meaning": answers(bytes(range(200, 256)) * 20),
    "an announced record too large": answers(b"\x16\x03\x03\xff\xff" + bytes(2000)),
    "half a record": half,
    "application data before any greeting": answers(b"\x17\x03\x03\x00\x10" + bytes(16)),
    "an echo": echo,
    "a hang-up": hang_up,
    "a reset": reset,
    "silence": mute,
    "a greeting that never ends": drip,
    "a refusal: no common ground": refusing(40),
    "a refusal: internal error": refusing(80),
    "a refusal: unknown name": refusing(112),
    "a refusal: not safe enough": refusing(71),
    "SSL 3": hello(0x0005, 0x0300),
    "RC4": hello(0x0005),
    "an export cipher": hello(0x0003),
    "triple DES": hello(0x000A),
    "a null cipher": hello(0x0000),
    "an anonymous exchange": hello(0xC018),
    "compression": hello(0xC02B, compression=1),
    "a downgrade from TLS 1.3": hello(0xC02B, last=b"DOWNGRD\x01"),
    "a downgrade to TLS 1.1": hello(0xC013, 0x0302, last=b"DOWNGRD\x00"),
    "a version of the future": hello(0xC02B, 0x0305),
    "a protocol nobody asked for": hello(0xC02B, more=b"\x00\x10\x00\x05\x00\x03\x02h2"),
}
