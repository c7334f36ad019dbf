"""Which broker may be the owner's own: the one that plain text may go to.

Plain text goes nowhere but home. The broker must have a loopback or a private address: seen when the name is looked up,
and again at the other end of the connection, before a byte of ours is sent over it. Over a network it must prove itself
by TLS; on loopback it need not: what goes there passes no wire, and whoever can listen there is root and reads the
opener's memory as well. And it must not be the fleet's.
"""

import contextlib
import ipaddress
import socket
import ssl
from pathlib import Path

from cryptography import x509

from agent.core.errors import BadInput, Missing, Refused, Unreachable
from agent.core.record import Record

HOME = tuple(
    ipaddress.ip_network(block)
    for block in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                  "::1/128", "fc00::/7", "fe80::/10")
)  # fmt: skip
OWN_ONLY = "plain text goes to a broker of your own, at home"
SEALED = "plain text crosses no network without TLS"


class Closing(ssl.SSLSocket):
    """A socket that does not stay open, and in nobody's hands, when the other side could not prove itself."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or close."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class Place(Record):
    """Where the owner's own broker is, as named, and whose word on its name is taken: None, no TLS."""

    __slots__ = ("context", "host", "port")
    host: str
    port: int
    context: ssl.SSLContext | None


def own_place(host: str, port: int, authority: Path | None, fleet: tuple[str, int], anchor: bytes) -> Place:
    """Return the owner's own broker, or refuse it: `fleet` is the place of the fleet's broker, `anchor` its root."""
    found = addresses(host, port)
    for one in found:
        if not at_home(one):
            raise Refused(f"{host} has the address {one}, which is no private one; {OWN_ONLY}")
    with contextlib.suppress(Unreachable):
        if port == fleet[1] and found & addresses(*fleet):
            raise Refused(f"{host} port {port} is the broker of the fleet; {OWN_ONLY}")
    if authority is None:
        if all(ipaddress.ip_address(one).is_loopback for one in found):
            return Place(host=host, port=port, context=None)
        raise Refused(f"{host} is another machine; give --own-ca, the authority that names it: {SEALED}")
    return Place(host=host, port=port, context=verified(authority, anchor))


def addresses(host: str, port: int) -> set[str]:
    """Return the addresses of a host, those of IPv4 as such; Unreachable when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable(f"{host} has no address; correct the name, or try again when the network is there") from None
    return {bare(str(row[4][0])) for row in found}


def bare(address: str) -> str:
    """Return an address without its zone; one of IPv4 that is written as IPv6 as what it is."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    mapped = plain.ipv4_mapped if isinstance(plain, ipaddress.IPv6Address) else None
    return str(mapped or plain)


def answers_at_home(address: str, sealed: bool) -> bool:
    """Say whether what answers from there may be told: over TLS at home, without it on this machine alone."""
    return at_home(address) if sealed else ipaddress.ip_address(bare(address)).is_loopback


def at_home(address: str) -> bool:
    """Say whether an address is of this machine or of a private network."""
    one = ipaddress.ip_address(bare(address))
    return any(one.version == block.version and one in block for block in HOME)


def verified(authority: Path, anchor: bytes) -> ssl.SSLContext:
    """Return a TLS context that trusts this authority alone; Refused when it is the fleet's."""
    try:
        content = authority.read_bytes()
        given, ours = x509.load_pem_x509_certificates(content), x509.load_pem_x509_certificates(anchor)
        if {one.issuer for one in given} & {one.subject for one in ours}:  # its root, and whom that signed
            raise Refused(f"this authority is the fleet's, and names its broker; {OWN_ONLY}")
        context = ssl.create_default_context(cadata=content.decode())
    except FileNotFoundError:
        raise Missing(f"{authority} is not there; give the certificate of your own broker's authority") from None
    except (OSError, ValueError):
        raise BadInput(f"{authority} holds no certificate (PEM); give that of your own broker's authority") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = Closing
    return context
