"""The words of a MUD file, the same for who writes one and who reads one."""

import ipaddress
import re
from typing import Any, NamedTuple

# side: the policy it stands in, the end that the peer is on, the short name of that end, the mark in a list's name
SIDES = {"outbound": ("from-device", "destination", "dst", "fr"), "inbound": ("to-device", "source", "src", "to")}
OTHER = {"outbound": "inbound", "inbound": "outbound"}
NUMBERS = {4: {"icmp": 1, "tcp": 6, "udp": 17}, 6: {"icmp": 58, "tcp": 6, "udp": 17}}
ECHO = {4: (8, 0), 6: (128, 129)}  # the ICMP types of a ping and of its answer
# Our own network in a file that speaks of one version of IP alone; the same blocks as the firewall's.
LAN = {
    4: ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"),
    6: ("fc00::/7", "fe80::/10"),
}
ALL = {4: "0.0.0.0/0", 6: "::/0"}
ANSWER = "-answer"
HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z][a-z0-9-]{0,61}[a-z0-9]\.?")
MUD, ACLS, DNS = "ietf-mud:mud", "ietf-access-control-list:acls", "ietf-acldns"
INITIATED = "ietf-mud:direction-initiated"
TITLE = 60  # RFC 8520, section 3.6: systeminfo is brief
Table = dict[str, Any]


class Entry(NamedTuple):
    """One entry of a list: whose flow it belongs to, whether it is the answer, and whether that is beyond doubt."""

    side: str
    protocol: str
    port: str
    peer: str
    answer: bool
    certain: bool = True


def version_of(peer: str) -> int | None:
    """Return the version of IP that an address block is of, None when the peer is of both."""
    try:
        return ipaddress.ip_network(peer).version
    except ValueError:
        return None


def host(peer: str) -> bool:
    """Say whether a peer is a name in the DNS."""
    return peer not in {"any", "lan", "loopback"} and HOST.fullmatch(peer) is not None
