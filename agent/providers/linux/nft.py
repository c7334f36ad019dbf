"""The firewall: one table of our own, `inet privet`, in which nothing passes that was not declared.

Param: `direction` (inbound or outbound: a chain of its own each). A value is a sorted tuple of flows
`protocol/port@peer`: tcp, udp, icmp or any · a port, a range `8000-8010`, any, or for icmp `echo` · any, lan, loopback,
or an address block. Always allowed are loopback, answers to what was allowed, and what IPv6 cannot live without.

Live is read back from the kernel; a rule that is not understood counts as if it were open as wide as its understood
part says. Kept is our file, and only if it is to the byte what we would write for the flows in it.
"""

import ipaddress
import json
from typing import Any

from agent.core.assess import Reading, unread
from agent.core.errors import BadInput, Failed, Missing, PrivetError, Unreachable
from agent.core.order import ANY, words
from agent.core.plan import Run, Write
from agent.core.record import Params, Value
from agent.system.door import System

PARAMS = ("direction",)
FOLDER = "/etc/privet/firewall"
FAMILY, TABLE = "inet", "privet"
# chain: hook, which address is the peer's, which interface match, how our own network is addressed
LAN = ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
# What we send to our own network goes to its groups too (mDNS, DHCPv6, broadcast); nobody sends *from* a group.
GROUPS = ("224.0.0.0/24", "239.0.0.0/8", "255.255.255.255/32", "ff02::/16", "ff05::/16")
HOOKS = {"inbound": ("input", "saddr", "iifname", LAN), "outbound": ("output", "daddr", "oifname", LAN + GROUPS)}
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
NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmp", "ipv6-icmp": "icmp"}
ANSWERS = {"established", "related"}
# Statements that let nothing through; every other one that is no match may.
SHUT = {"counter", "log", "limit", "comment", "drop", "reject"}

Table = dict[str, Any]


def probe(system: System, params: Params) -> Reading:
    """Say which flows the kernel lets through now, and which our file lets through after a restart."""
    direction = str(params["direction"])
    try:
        kept = in_file(system, direction)
    except PrivetError as error:
        return unread(str(error))
    try:
        outcome = system.run(("nft", "-j", "-s", "list", "ruleset"))
        if outcome.code != 0:
            raise Failed("nft cannot list the rules of the kernel; run it as root to see why")
        live = opened(objects(outcome.out), direction)
    except Unreachable:
        return unread("nft is not installed or does not answer; install nftables", kept=kept)
    except (PrivetError, ValueError) as error:
        return unread(str(error), kept=kept)
    return Reading(live=live, kept=kept, cause="", absent=False)


def steps(params: Params, option: Value) -> tuple[Write | Run, ...]:
    """Write our file for this direction and load it in one transaction; the other direction is not touched."""
    direction = str(params["direction"])
    if not isinstance(option, tuple):
        raise BadInput(f"{option!r} is no list of flows; write flows as protocol/port@peer")
    path = file_of(direction)
    return (
        Write(path=path, content=document(direction, option), mode=0o600, uid=0, gid=0),
        # Wakes a table that somebody put to sleep; the kernel refuses that together with new chains.
        Run(argv=("nft", "add", "table", FAMILY, TABLE), stdin=b""),
        Run(argv=("nft", "-j", "-f", path), stdin=b""),
    )


def watches(params: Params) -> tuple[str, ...]:
    """Name where our files are; changes in the kernel come from `nft monitor` and the sweep."""
    return (FOLDER,)


def file_of(direction: str) -> str:
    """Return the path of our file, which is loaded before the network at each start."""
    return f"{FOLDER}/{direction}.json"


def parsed(flow: str) -> tuple[str, str, str]:
    """Split a flow into protocol, port and peer, or refuse it."""
    protocol, slash, rest = flow.partition("/")
    port, at, peer = rest.partition("@")
    if not slash or not at or protocol not in {"tcp", "udp", "icmp", "any"}:
        raise BadInput(f"{flow!r} is no flow; write it as protocol/port@peer, for example tcp/22@lan")
    fits = {"icmp": {"any", "echo"}, "any": {"any"}}.get(protocol)
    if (fits is not None and port not in fits) or (fits is None and port != "any" and port_match(port) is None):
        raise BadInput(f"{flow!r} has no port that {protocol} knows; use 1 to 65535, a range, or any")
    if peer not in {"any", "lan", "loopback"}:
        try:
            plain = str(ipaddress.ip_network(peer))
        except ValueError as error:
            raise BadInput(f"{flow!r}: {error}; use any, lan, loopback or an address block") from error
        if plain != peer:
            raise BadInput(f"{flow!r} names one block in two ways; write it as {plain}")
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


def document(direction: str, flows: tuple[str, ...]) -> bytes:
    """Return the transaction that makes our chain hold exactly these flows, whatever it was before."""
    hook, _, interface, _ = HOOKS[direction]
    chain = {"family": FAMILY, "table": TABLE, "name": direction}
    base = {**chain, "type": "filter", "hook": hook, "prio": 0, "policy": "drop"}
    ipv6 = matched("payload", {"protocol": "icmpv6", "field": "type"}, {"set": list(NEEDED[direction])})
    bodies = [
        [matched("ct", {"key": "state"}, {"set": ["established", "related"]}), {"accept": None}],
        [matched("meta", {"key": interface}, "lo"), {"accept": None}],
        [ipv6, {"accept": None}],
    ]
    for flow in words(flows):
        bodies += [[*body, {"accept": None}] for body in bodies_of(direction, *parsed(flow))]
    bodies.append([{"counter": None}])  # counts what the policy drops
    place = {"family": FAMILY, "table": TABLE, "chain": direction}
    commands: list[Table] = [
        {"add": {"table": {"family": FAMILY, "name": TABLE}}},
        # Made, then removed, then made anew: so a chain of the wrong kind or hook in our place does not stop us.
        {"add": {"chain": chain}},
        {"flush": {"chain": chain}},
        {"delete": {"chain": chain}},
        {"add": {"chain": base}},
        *({"add": {"rule": {**place, "expr": body}}} for body in bodies),
    ]
    lines = ",\n".join(json.dumps(command, sort_keys=True) for command in commands)
    return f'{{"nftables": [\n{lines}\n]}}\n'.encode()


def matched(kind: str, left: Table, right: Any) -> Table:
    """Write one match."""
    return {"match": {"op": "==", "left": {kind: left}, "right": right}}


def bodies_of(direction: str, protocol: str, port: str, peer: str) -> list[list[Table]]:
    """Return the matches of the rules for one flow: one rule per address family where the family matters."""
    if peer == "loopback":
        return []
    field, blocks = HOOKS[direction][1], HOOKS[direction][3]
    nets = {"any": (), "lan": blocks}.get(peer, (peer,))
    made = []
    for family, version, echo in (("ip", 4, "icmp"), ("ip6", 6, "icmpv6")):
        own = [ipaddress.ip_network(net) for net in nets if ipaddress.ip_network(net).version == version]
        if nets and not own:
            continue
        prefixes: list[Table] = [{"prefix": {"addr": str(net.network_address), "len": net.prefixlen}} for net in own]
        right = prefixes[0] if len(prefixes) == 1 else {"set": prefixes}
        body = [matched("payload", {"protocol": family, "field": field}, right)] if own else []
        made.append(body + traffic(protocol, port, echo))
    return made if nets or protocol == "icmp" else made[:1]


def traffic(protocol: str, port: str, echo: str) -> list[Table]:
    """Return the match of protocol and port; `echo` names ICMP in the family of the rule."""
    if protocol == "icmp" and port == "echo":
        return [matched("payload", {"protocol": echo, "field": "type"}, "echo-request")]
    if port != "any":
        return [matched("payload", {"protocol": protocol, "field": "dport"}, port_match(port))]
    number = PROTOCOLS[echo if protocol == "icmp" else protocol]
    return [matched("meta", {"key": "l4proto"}, number)] if number else []


def in_file(system: System, direction: str) -> Value:
    """Return the flows our file opens at the next start; ANY when it is missing or not ours."""
    try:
        content = system.read(file_of(direction))
        flows = opened(objects(content), direction)
        ours = isinstance(flows, tuple) and document(direction, flows) == content
    except (Missing, BadInput, ValueError, LookupError, TypeError, AttributeError):  # surely not written by us
        return ANY
    return flows if ours else ANY


def objects(content: bytes) -> list[Table]:
    """Return the tables, chains and rules of a listing or of our file; ValueError when it is neither."""
    table = json.loads(content)
    rows = table.get("nftables") if isinstance(table, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("nft answered in a form that is not understood; check its version")
    return [row["add"] if isinstance(row.get("add"), dict) else row for row in rows]


def opened(rows: list[Table], direction: str) -> Value:
    """Return the flows that pass our chain; ANY when it is not there, asleep, elsewhere, or open at its end."""
    hook = HOOKS[direction][0]
    tables = [row["table"] for row in rows if row.get("table", {}).get("name") == TABLE]
    ours = [t for t in tables if t.get("family") == FAMILY]
    chains = [row["chain"] for row in rows if "chain" in row and belongs(row["chain"], "name", direction)]
    if not ours or "flags" in ours[0] or not chains:  # any flag, asleep above all, takes the table out of our hands
        return ANY
    right = {"type": "filter", "hook": hook, "policy": "drop"}
    if any(chains[-1].get(key) != value for key, value in right.items()):
        return ANY
    found: set[str] = set()
    for row in rows:
        if "rule" in row and belongs(row["rule"], "chain", direction):
            found.update(flows_of(row["rule"].get("expr", []), direction))
    return words(found)


def belongs(row: Table, key: str, direction: str) -> bool:
    """Say whether a chain or rule is of our table and direction."""
    return row.get("family") == FAMILY and row.get("table") == TABLE and row.get(key) == direction


def flows_of(body: list[Table], direction: str) -> list[str]:
    """Return the flows that one rule lets through; a match that is not understood only narrows, so it is left out."""
    if all(next(iter(part)) in SHUT | {"match"} for part in body):
        return []
    protocols, ports, peers = ["any"], ["any"], ["any"]
    for part in body:
        match = part.get("match", {})
        if match.get("op") not in {"==", "in"}:
            continue
        left, right = match["left"], match["right"]
        name, field = side(left)
        several = alternatives(right)
        if (name == "ct state" and set(map(str, several)) <= ANSWERS) or (name == "interface" and several == ["lo"]):
            return []
        if name == "icmp type":
            if set(map(str, several)) <= set(NEEDED[direction]):
                return []
            protocols, ports = ["icmp"], ["echo" if several == ["echo-request"] else "any"]
        elif name == "protocol":
            protocols = [NAMES.get(str(one), str(one)) for one in several]
        elif name == "port":
            protocols = [field] if field in {"tcp", "udp"} else protocols
            ports = [spelled(one) for one in several]
        elif name == HOOKS[direction][1]:
            peers = blocks(several, HOOKS[direction][3])
    return [f"{protocol}/{port}@{peer}" for protocol in protocols for port in ports for peer in peers]


def side(left: Table) -> tuple[str, str]:
    """Name what the left side of a match looks at, with the protocol of a port."""
    kind, what = next(iter(left.items()))
    key = str(what.get("key") or what.get("field")) if isinstance(what, dict) else ""
    if kind == "ct":
        return f"ct {key}", ""
    if kind == "meta":
        return {"iifname": "interface", "oifname": "interface", "l4proto": "protocol"}.get(key, ""), ""
    if kind != "payload":
        return "", ""
    if what.get("protocol") in {"icmp", "icmpv6"}:
        return f"icmp {key}", ""
    return {"dport": "port", "saddr": "saddr", "daddr": "daddr"}.get(key, ""), str(what.get("protocol"))


def alternatives(right: Any) -> list[Any]:
    """Return what the right side of a match allows, one by one."""
    if isinstance(right, dict) and isinstance(right.get("set"), list):
        return list(right["set"])
    return list(right) if isinstance(right, list) else [right]


def spelled(one: Any) -> str:
    """Spell one port or range as a flow does."""
    if isinstance(one, dict) and isinstance(one.get("range"), list):
        return "-".join(str(end) for end in one["range"])
    return str(one) if isinstance(one, int) else "any"


def blocks(several: list[Any], lan: tuple[str, ...]) -> list[str]:
    """Spell addresses as a flow does: our own network by name, everything that is no plain block as any."""
    found = set()
    for one in several:
        prefix = one.get("prefix") if isinstance(one, dict) else None
        text = f"{prefix['addr']}/{prefix['len']}" if prefix else one
        try:
            found.add(str(ipaddress.ip_network(text)))
        except (ValueError, TypeError):
            return ["any"]
    version6 = ":" in min(found)
    return ["lan"] if found == {net for net in lan if (":" in net) == version6} else sorted(found)
