"""Our firewall beside the rules of others: what a container publishes is a door like any other, and theirs stay theirs.

A street of three: a neighbour outside, the device, and a container on a bridge inside it, joined by the rules that
Docker writes (iptables on nft, IPv4 and IPv6). Docker itself is not needed: its rules are what opens.
"""

import json
import time
from collections.abc import Iterator

import pytest

from tests.device import tree
from tests.device.enforced import enforce, look
from tests.device.lab import Device, Lab
from tests.device.test_nft import KNOCK, LISTEN

MINE, THEIRS, OUTSIDE = "192.168.77.2", "192.168.77.3", "203.0.113.9"
MINE6, THEIRS6 = "fd77::2", "fd77::3"
BRIDGE, INNER = "172.17.0.1", "172.17.0.2"
BRIDGE6, INNER6 = "fd17::1", "fd17::2"
# As dockerd 27 writes them for one container that publishes 8080 and 9090, both for its port 80.
FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p {icmp} -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d {inner} ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d {loop} -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s {net} ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination {target}:80
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9090 -j DNAT --to-destination {target}:80
COMMIT
"""
DOCKER = {
    "iptables": {"icmp": "icmp", "inner": INNER, "loop": "127.0.0.0/8", "net": "172.17.0.0/16", "target": INNER},
    "ip6tables": {"icmp": "ipv6-icmp", "inner": INNER6, "loop": "::1", "net": "fd17::/64", "target": f"[{INNER6}]"},
}
# A person's own table and one as firewalld writes it; both accept what they like.
OTHERS = """
table inet filter {
	set blocked { type ipv4_addr; elements = { 198.51.100.7 } }
	chain input { type filter hook input priority filter; ip saddr @blocked drop; tcp dport 8080 accept; }
	chain forward { type filter hook forward priority filter; policy accept; }
}
table inet firewalld {
	chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct status dnat accept; }
	chain filter_INPUT { type filter hook input priority filter + 10; policy accept; accept; }
}
"""
# What people and programs do to open things: none of it opens what is not declared.
OPENERS = (
    ("iptables", "-P", "FORWARD", "ACCEPT"),
    ("iptables", "-I", "FORWARD", "-j", "ACCEPT"),
    ("iptables", "-I", "DOCKER-USER", "-j", "ACCEPT"),
    ("iptables", "-I", "INPUT", "-j", "ACCEPT"),
    ("ip6tables", "-I", "DOCKER-USER", "-j", "ACCEPT"),
    ("nft", "add table inet early; add chain inet early f { type filter hook forward priority -300; }"),
    ("nft", "add rule inet early f accept; add chain inet early i { type filter hook input priority -300; }"),
    ("nft", "add rule inet early i accept"),
)
DECLARED = ["tcp/22@lan"]
KNOCKS = tuple(
    f"{source}|{host}|{port}" for host, source in ((MINE, ""), (MINE6, ""), (MINE, OUTSIDE)) for port in (8080, 9090)
)
STRAIGHT = (f"|{INNER}|80", f"|{INNER6}|80")  # to the container itself, by a route that a neighbour just takes


class Yard:
    """A device, its neighbour, and the container inside it."""

    def __init__(self, device: Device, neighbour: Device, container: Device) -> None:
        self.device, self.neighbour, self.container = device, neighbour, container
        for one in (device, neighbour, container):  # or an address is not used for its first second
            one.must(["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"])
        device.link(neighbour, MINE, THEIRS)
        mine, theirs = ends(device)[0], ends(neighbour)[0]
        device.link(container, "172.31.0.1", INNER, 16)
        inner, own = next(name for name in ends(device) if name != mine), ends(container)[0]
        device.must(["ip", "link", "add", "docker0", "type", "bridge"])
        device.must(["ip", "address", "flush", "dev", inner])
        device.must(["ip", "link", "set", inner, "master", "docker0"])
        for one, address, end in (
            (device, f"{BRIDGE}/16", "docker0"), (device, f"{BRIDGE6}/64", "docker0"), (device, f"{MINE6}/64", mine),
            (neighbour, f"{THEIRS6}/64", theirs), (neighbour, f"{OUTSIDE}/24", theirs),
            (container, f"{INNER6}/64", own),
        ):  # fmt: skip
            one.must(["ip", "address", "add", address, "dev", end, *(["nodad"] if ":" in address else [])])
        device.must(["ip", "link", "set", "docker0", "up"])
        device.must(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        for one, net, via in (
            (device, "203.0.113.0/24", THEIRS), (neighbour, "172.17.0.0/16", MINE), (neighbour, "fd17::/64", MINE6),
            (container, "default", BRIDGE), (container, "::/0", BRIDGE6),
        ):  # fmt: skip
            one.must(["ip", "route", "add", net, "via", via])
        for program, words in DOCKER.items():
            device.must([f"{program}-restore"], FILTER.format(**words).encode())
        device.must(["nft", "-f", "-"], OTHERS.encode())

    def knocks(self, who: Device, *targets: str) -> list[bool]:
        """Try connections; say which were answered."""
        found: list[bool] = who.ask(KNOCK, *targets)
        return found

    def settle(self) -> None:
        """Wait until everything is open that Docker's rules open: a new bridge passes its first IPv6 packets late."""
        ends = time.monotonic() + 20
        inward, outward = (f"|{MINE}|8080", f"|{MINE6}|8080", *STRAIGHT), (f"|{THEIRS}|22", f"|{THEIRS6}|22")
        while not all([*self.knocks(self.neighbour, *inward), *self.knocks(self.container, *outward)]):
            assert time.monotonic() < ends, "the three never reached each other"

    def theirs(self) -> str:
        """Return every rule that is not ours, without counters."""
        rows = json.loads(self.device.must(["nft", "-j", "-s", "list", "ruleset"]))["nftables"]
        kept = [row for row in rows if not {"privet"} & {v.get("table", v.get("name")) for v in row.values()}]
        return json.dumps(kept, sort_keys=True)


def ends(device: Device) -> list[str]:
    """Return a device's ends of cables."""
    return [name for name in device.must(["ls", "/sys/class/net"]).split() if name.startswith("lan")]


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """Give devices that have iptables."""
    made = Lab(tree.FIREWALLS)
    yield made
    made.close()


@pytest.fixture
def yard(firewalls: Lab) -> Iterator[Yard]:
    """Give the three, with a server on port 80 of the container and on 22 and 8080 of the others."""
    with firewalls.device() as device, firewalls.device() as neighbour, firewalls.device() as container:
        made = Yard(device, neighbour, container)
        for one, ports in ((device, ("22", "8081")), (neighbour, ("22", "443")), (container, ("80",))):
            server = one.spawn(one.python("-c", LISTEN, *ports))
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
        made.settle()
        yield made


def test_a_published_port_opens_nothing_that_is_not_declared(yard: Yard) -> None:
    """The twin first: past a closed INPUT, Docker's doors stand open. Then ours: shut, and open exactly as declared."""
    near, device = yard.neighbour, yard.device
    assert yard.knocks(near, f"|{MINE}|8081") == [False]  # their INPUT drops
    assert yard.knocks(near, *KNOCKS, *STRAIGHT) == [True] * 8  # and what passes through goes past it
    before = yard.theirs()
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    assert yard.knocks(near, f"|{MINE}|22", f"|{MINE6}|22") == [True, True]
    assert yard.knocks(near, *KNOCKS, *STRAIGHT) == [False] * 8
    # The port that counts is the one that was knocked at, not the container's own.
    assert enforce(device, "firewall.inbound", ["tcp/80@any"]) == ""
    assert yard.knocks(near, *KNOCKS, *STRAIGHT) == [False] * 8
    assert enforce(device, "firewall.inbound", ["tcp/8080@lan"]) == ""
    assert yard.knocks(near, *KNOCKS, *STRAIGHT) == [True, False, True, False, False, False, False, False]
    assert enforce(device, "firewall.inbound", ["tcp/9000-9100@203.0.113.0/24"]) == ""
    assert yard.knocks(near, *KNOCKS, *STRAIGHT) == [False, False, False, False, False, True, False, False]
    assert look(device, "firewall.inbound")["live"] == ["tcp/9000-9100@203.0.113.0/24"]
    assert yard.theirs() == before


def test_what_a_container_sends_is_held_to_the_flows_too(yard: Yard) -> None:
    """Open before (the twin); then only what the device itself may do. What containers say to each other is theirs."""
    container, device = yard.container, yard.device
    outward = (f"|{THEIRS}|22", f"|{THEIRS6}|22", f"|{THEIRS}|443", f"|{OUTSIDE}|443")
    assert yard.knocks(container, *outward) == [True, True, True, True]
    before = yard.theirs()
    assert enforce(device, "firewall.outbound", []) == ""
    assert yard.knocks(container, *outward) == [False] * 4
    assert enforce(device, "firewall.outbound", ["tcp/22@lan", "tcp/443@203.0.113.0/24"]) == ""
    assert yard.knocks(container, *outward) == [True, True, False, True]
    assert look(device, "firewall.outbound")["live"] == ["tcp/22@lan", "tcp/443@203.0.113.0/24"]
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    assert yard.knocks(container, *outward) == [True, True, False, True]  # the other direction does not judge it
    assert yard.theirs() == before


def test_no_rule_of_others_opens_what_is_not_declared(yard: Yard) -> None:
    """An accept elsewhere, earlier, by policy: each is no last word, and none of it is taken back."""
    near, device = yard.neighbour, yard.device
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    for argv in OPENERS:
        device.must(argv)
    assert yard.knocks(near, *KNOCKS, *STRAIGHT, f"|{MINE}|8081") == [False] * 9
    before = yard.theirs()
    assert "DOCKER-USER" in before and "early" in before
    assert look(device, "firewall.inbound") == {"live": DECLARED, "kept": DECLARED, "cause": "", "absent": False}
    # The twin: without ours, all that was opened is open.
    device.must(["nft", "delete", "table", "inet", "privet"])
    assert yard.knocks(near, *KNOCKS, *STRAIGHT, f"|{MINE}|8081") == [True] * 9
    assert look(device, "firewall.inbound")["live"] == "*"
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    assert yard.knocks(near, *KNOCKS, *STRAIGHT, f"|{MINE}|8081") == [False] * 9
    assert yard.theirs() == before


def test_what_hands_do_to_the_chain_for_containers_is_seen_and_undone(yard: Yard) -> None:
    """Each opens a published port in truth, is read so, and one load shuts it again; theirs are never touched."""
    near, device = yard.neighbour, yard.device
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    before = yard.theirs()
    for words in (
        "delete table inet privet",
        "flush chain inet privet through_in; delete chain inet privet through_in",
        "add chain inet privet through_in { policy accept; }; flush chain inet privet through_in",
        "insert rule inet privet through_in accept",
        "insert rule inet privet through_in ct status dnat accept",
        "insert rule inet privet through_in meta l4proto tcp ct original proto-dst 8080 accept",
        "add table inet privet { flags dormant; }",
    ):
        device.must(["nft", words])
        assert yard.knocks(near, KNOCKS[0]) == [True], words
        assert look(device, "firewall.inbound")["live"] != DECLARED, words
        assert enforce(device, "firewall.inbound", DECLARED) == ""
        assert yard.knocks(near, KNOCKS[0]) == [False], words
        assert look(device, "firewall.inbound")["live"] == DECLARED
        assert yard.theirs() == before
    device.must(["nft", "flush", "ruleset"])  # theirs go with it, and are not ours to bring back
    assert look(device, "firewall.inbound")["live"] == "*"
    assert enforce(device, "firewall.inbound", DECLARED) == ""
    assert yard.knocks(near, f"|{MINE}|22", f"|{MINE}|8081", *STRAIGHT) == [True, False, False, False]
