"""The rules we read: what a listing of the kernel, or our file, lets through, as flows."""

import json
from typing import Any

from agent.core.order import ANY, words
from agent.core.record import Value
from agent.providers.linux.nft.blocks import plain
from agent.providers.linux.nft.flows import FAMILY, HOOKS, INSIDE, NEEDED, TABLE, THROUGH, UNLIMITED, WAY_IN, Table
from agent.providers.linux.nft.writing import PUBLISHED, limits

NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmp", "ipv6-icmp": "icmp"}
ANSWERS = {"established", "related"}
# Statements that let nothing through; every other one that is no match may.
SHUT = {"counter", "log", "limit", "meter", "comment", "drop", "reject"}


def objects(content: bytes) -> list[Table]:
    """Return the tables, chains and rules of a listing or of our file; ValueError when it is neither."""
    table = json.loads(content)
    rows = table.get("nftables") if isinstance(table, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("nft answered in a form that is not understood; check its version")
    return [row["add"] if isinstance(row.get("add"), dict) else row for row in rows]


def opened(rows: list[Table], direction: str) -> Value:
    """Return the flows that pass our chains; ANY when one is not there, asleep, elsewhere, or open at its end."""
    tables = [row["table"] for row in rows if row.get("table", {}).get("name") == TABLE]
    ours = [t for t in tables if t.get("family") == FAMILY]
    if not ours or "flags" in ours[0]:  # any flag, asleep above all, takes the table out of our hands
        return ANY
    right = ((direction, HOOKS[direction][0]), (THROUGH[direction], "forward"))
    if not all(shut(rows, name, hook) for name, hook in right):
        return ANY
    missing, found = limits(direction), set[str]()
    for body in bodies_in(rows, direction):
        missing = [limit for limit in missing if limit != body]
        for flow in flows_of(body, direction):
            found.update(uncounted(flow) if missing else (flow,))
    for flow in passing(bodies_in(rows, THROUGH[direction]), direction):
        if flow + UNLIMITED not in found:  # nobody counts who only passes through
            found.add(flow)
    return words(found)


def shut(rows: list[Table], name: str, hook: str) -> bool:
    """Say whether a chain of ours stands where it should and drops what no rule accepts."""
    chains = [row["chain"] for row in rows if "chain" in row and belongs(row["chain"], "name", name)]
    right = {"type": "filter", "hook": hook, "policy": "drop"}
    return bool(chains) and all(chains[-1].get(key) == value for key, value in right.items())


def bodies_in(rows: list[Table], chain: str) -> list[list[Table]]:
    """Return the rules of one of our chains."""
    sizes = {
        row["set"].get("name"): row["set"].get("size") for row in rows if belongs(row.get("set", {}), "table", TABLE)
    }
    bodies = [row["rule"].get("expr", []) for row in rows if "rule" in row and belongs(row["rule"], "chain", chain)]
    return [[metered(statement, sizes) for statement in body] for body in bodies]


def metered(statement: Table, sizes: Table) -> Table:
    """Write a meter as nft 1.0 lists it; later versions list what the kernel has, a set that a rule updates."""
    found = statement.get("set")
    if not isinstance(found, dict) or found.get("op") != "update" or len(found.get("stmt") or ()) != 1:
        return statement
    name = str(found.get("set")).removeprefix("@")
    return {"meter": {"name": name, "size": sizes.get(name), "key": found.get("elem"), "stmt": found["stmt"][0]}}


def passing(bodies: list[list[Table]], direction: str) -> list[str]:
    """Return the flows that may pass through; what only containers say among themselves is none."""
    found, kept = list[str](), False
    for body in bodies:
        kept = kept or body == [PUBLISHED, {"drop": None}] or direction == "outbound"
        if not (kept and own_affair(body, direction)):
            found += flows_of(body, direction)
    return found


def own_affair(body: list[Table], direction: str) -> bool:
    """Say whether a rule accepts, by the interface alone, what this chain does not judge."""
    ours = {"inbound": {("iifname", "==")}, "outbound": {("iifname", "!="), ("oifname", "==")}}[direction]
    if len(body) != 2 or body[1] != {"accept": None} or "match" not in body[0]:
        return False
    left, op, right = (body[0]["match"].get(key) for key in ("left", "op", "right"))
    key = left.get("meta", {}).get("key") if isinstance(left, dict) else None
    return (key, op) in ours and set(map(str, alternatives(right))) == set(INSIDE)


def uncounted(flow: str) -> tuple[str, ...]:
    """Spell a flow that no limit stands before: when the way in is part of it, there guessing has no end."""
    protocol, _, rest = flow.partition("/")
    port, _, peer = rest.partition("@")
    first, _, last = port.partition("-")
    if protocol not in {"tcp", "any"} or not (port == "any" or int(first) <= WAY_IN <= int(last or first)):
        return (flow,)
    way = f"tcp/{WAY_IN}@{peer}"
    return (way + UNLIMITED,) if flow == way else (flow, way + UNLIMITED)


def belongs(row: Table, key: str, chain: str) -> bool:
    """Say whether a chain or rule is of our table and of this name."""
    return row.get("family") == FAMILY and row.get("table") == TABLE and row.get(key) == chain


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
        elif name in {"port", "ct proto-dst"}:
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
            found.add(plain(text))
        except (ValueError, TypeError):
            return ["any"]
    version6 = ":" in min(found)
    return ["lan"] if found == {net for net in lan if (":" in net) == version6} else sorted(found)
