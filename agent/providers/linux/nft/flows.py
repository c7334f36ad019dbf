"""The words of the firewall: what a flow is, and what is the same for those who write rules and those who read them."""

from typing import Any

from agent.core.errors import BadInput
from agent.providers.linux.nft.blocks import plain as one_way

FAMILY, TABLE = "inet", "privet"
LAN = ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
# What we send to our own network goes to its groups too (mDNS, DHCPv6, broadcast); nobody sends *from* a group.
GROUPS = ("224.0.0.0/24", "239.0.0.0/8", "255.255.255.255/32", "ff02::/16", "ff05::/16")
# chain: hook, which address is the peer's, which interface match, how our own network is addressed
HOOKS = {"inbound": ("input", "saddr", "iifname", LAN), "outbound": ("output", "daddr", "oifname", LAN + GROUPS)}
# What only passes through (hook forward) has a chain of its own in each direction. Containers and virtual machines are
# inside the device: what comes to them from outside is inbound, what they send outside is outbound, and what they say
# to each other is theirs. By name, for nft knows no better; whatever is called otherwise counts as outside.
THROUGH = {"inbound": "through_in", "outbound": "through_out"}
INSIDE = ("br-*", "cni*", "docker*", "lxc*", "podman*", "veth*", "virbr*")
# Without these IPv6 does not work at all (RFC 4890): errors and path MTU, routers, neighbours, group membership.
# A redirect is not among them. IPv4 needs none: its errors are `related` to a connection, ARP is not IP.
ERRORS = ("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem")
NEEDED = {
    "inbound": (*ERRORS, "mld-listener-query", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"),
    "outbound": (
        *ERRORS,
        "mld-listener-report",
        "mld-listener-done",
        "nd-router-solicit",
        "nd-neighbor-solicit",
        "nd-neighbor-advert",
        "mld2-listener-report",
    ),
}
# By number: names need /etc/protocols, which a small device lacks; and then the kernel's listing has numbers too.
PROTOCOLS = {"any": 0, "icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}

# The door at which one can guess: who knocks there too often is not heard. Each address, in IPv6 each /64 (a subscriber
# gets no less), may open RATE new connections a minute and BURST more at once: never more than ten in any minute.
WAY_IN = 22
RATE, BURST = 5, 5
# Each address that knocks is remembered for as long as it takes until nothing is counted against it, SIZE of them at
# most (0.5 MB). Beyond that newcomers are let in uncounted: who can speak for so many addresses of the own network
# shall not be able to lock the owner out, and still has to open a door that takes no password.
FORGET, SIZE = 60, 4096
UNLIMITED = " unlimited"  # behind a flow to that door: nobody counts

Table = dict[str, Any]


def parsed(flow: str) -> tuple[str, str, str]:
    """Split a flow into protocol, port and peer, or refuse it."""
    protocol, slash, rest = flow.removesuffix(UNLIMITED).partition("/")
    port, at, peer = rest.partition("@")
    if not slash or not at or protocol not in {"tcp", "udp", "icmp", "any"}:
        raise BadInput(f"{flow!r} is no flow; write it as protocol/port@peer, for example tcp/22@lan")
    fits = {"icmp": {"any", "echo"}, "any": {"any"}}.get(protocol)
    if (fits is not None and port not in fits) or (fits is None and port != "any" and port_match(port) is None):
        raise BadInput(f"{flow!r} has no port that {protocol} knows; use 1 to 65535, a range, or any")
    if peer not in {"any", "lan", "loopback"}:
        try:
            plain = one_way(peer)
        except ValueError as error:
            raise BadInput(f"{flow!r}: {error}; use any, lan, loopback or an address block") from error
        if plain != peer:
            raise BadInput(f"{flow!r} names one block in two ways; write it as {plain}")
    if flow.endswith(UNLIMITED) and (protocol != "tcp" or port != str(WAY_IN)):
        raise BadInput(f"{flow!r} has no limit that could be lifted; write it without the last word")
    return protocol, port, peer


def port_match(port: str) -> int | Table | None:
    """Return a port or a range as nft writes it, None when it is neither."""
    ends = port.split("-")
    if len(ends) > 2 or not all(end.isascii() and end.isdigit() and str(int(end)) == end != "0" for end in ends):
        return None
    numbers = [int(end) for end in ends]
    if len(numbers) == 1:
        return numbers[0] if numbers[0] < 65536 else None
    return {"range": numbers} if numbers[0] < numbers[1] < 65536 else None
