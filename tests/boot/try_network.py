"""Acts on the network that no unit has any business with."""

import socket


def raw_socket(_given: dict[str, str]) -> None:
    """Write packets by hand."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def packet_socket(_given: dict[str, str]) -> None:
    """Read everything on the wire."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300).close()


def netlink_socket(_given: dict[str, str]) -> None:
    """Speak to the kernel about the network."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def machine_socket(_given: dict[str, str]) -> None:
    """Speak to a machine around this one."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


def cipher_socket(_given: dict[str, str]) -> None:
    """Use the kernel's ciphers, a way in more than once."""
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET).close()


def _connected(host: str, port: int) -> None:
    """Connect to the neighbour."""
    with socket.socket() as wire:
        wire.settimeout(2)
        wire.connect((host, port))


def connect_web(given: dict[str, str]) -> None:
    """Connect out to port 443."""
    _connected(given["neighbour"], 443)


def internet_socket(_given: dict[str, str]) -> None:
    """Have a socket of the internet at all."""
    socket.socket().close()


def take_port(_given: dict[str, str]) -> None:
    """Listen on a port."""
    with socket.socket() as wire:
        wire.bind(("0.0.0.0", 8088))
        wire.listen()
