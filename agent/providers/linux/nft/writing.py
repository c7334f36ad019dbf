"""The rules we write: one transaction a direction, to the byte the same for the same flows."""

import json
from typing import Any

from agent.core.order import words
from agent.providers.linux.nft.blocks import block
from agent.providers.linux.nft.flows import (
    BURST,
    FAMILY,
    FORGET,
    HOOKS,
    INSIDE,
    NEEDED,
    PROTOCOLS,
    RATE,
    SIZE,
    TABLE,
    THROUGH,
    UNLIMITED,
    WAY_IN,
    Table,
    parsed,
    port_match,
)

PUBLISHED: Table = {"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}
# Whom a limit counts, by the name of its memory.
COUNTED: dict[str, Table] = {
    "knocks4": {"payload": {"protocol": "ip", "field": "saddr"}},
    "knocks6": {"&": [{"payload": {"protocol": "ip6", "field": "saddr"}}, "ffff:ffff:ffff:ffff::"]},
}


def document(direction: str, flows: tuple[str, ...]) -> bytes:
    """Return the transaction that makes our chains hold exactly these flows, whatever they were before."""
    hook, _, interface, _ = HOOKS[direction]
    ipv6 = matched("payload", {"protocol": "icmpv6", "field": "type"}, {"set": list(NEEDED[direction])})
    bodies = [
        [matched("ct", {"key": "state"}, {"set": ["established", "related"]}), {"accept": None}],
        [matched("meta", {"key": interface}, "lo"), {"accept": None}],
        [ipv6, {"accept": None}],
    ]
    listed = words(flows)
    bodies += accepts(direction, [flow for flow in listed if flow.endswith(UNLIMITED)])
    bodies += limits(direction)
    bodies += accepts(direction, [flow for flow in listed if not flow.endswith(UNLIMITED)])
    commands: list[Table] = [
        {"add": {"table": {"family": FAMILY, "name": TABLE}}},
        *chain_of(direction, hook, bodies),
        *chain_of(THROUGH[direction], "forward", through(direction, listed)),
    ]
    lines = ",\n".join(json.dumps(command, sort_keys=True) for command in commands)
    return f'{{"nftables": [\n{lines}\n]}}\n'.encode()


def chain_of(name: str, hook: str, bodies: list[list[Table]]) -> list[Table]:
    """Return the commands that make one chain hold these rules, and drop the rest."""
    chain = {"family": FAMILY, "table": TABLE, "name": name}
    place = {"family": FAMILY, "table": TABLE, "chain": name}
    counted = [*bodies, [{"counter": None}]]  # counts what the policy drops
    return [
        # Made, then removed, then made anew: so a chain of the wrong kind or hook in our place does not stop us.
        {"add": {"chain": chain}},
        {"flush": {"chain": chain}},
        {"delete": {"chain": chain}},
        {"add": {"chain": {**chain, "type": "filter", "hook": hook, "prio": 0, "policy": "drop"}}},
        *({"add": {"rule": {**place, "expr": body}}} for body in counted),
    ]


def through(direction: str, flows: tuple[str, ...]) -> list[list[Table]]:
    """Return the rules for what passes through: a port published for a container is a door like any other."""
    answers = [matched("ct", {"key": "state"}, {"set": ["established", "related"]}), {"accept": None}]
    if direction == "outbound":  # judged here is what leaves from inside; the other chain judges the rest
        kept = [[inside("iifname", "!="), {"accept": None}], [inside("oifname", "=="), {"accept": None}]]
        return [answers, *kept, *accepts(direction, list(flows))]
    doors = [body for flow in words([flow.removesuffix(UNLIMITED) for flow in flows]) for body in published(flow)]
    return [answers, *doors, [PUBLISHED, {"drop": None}], [inside("iifname", "=="), {"accept": None}]]


def published(flow: str) -> list[list[Table]]:
    """Return the rules that let a flow in to where its port was published; the port is the one that was knocked at."""
    protocol, port, peer = parsed(flow)
    if protocol == "icmp":
        return []
    bodies = bodies_of("inbound", "any", "any", peer)
    if protocol == "any":
        return [[*body, {"accept": None}] for body in bodies]
    knocked = [matched("meta", {"key": "l4proto"}, PROTOCOLS[protocol])]
    if port != "any":
        knocked.append(matched("ct", {"key": "proto-dst", "dir": "original"}, port_match(port)))
    return [[PUBLISHED, *body, *knocked, {"accept": None}] for body in bodies]


def inside(key: str, op: str) -> Table:
    """Match the interfaces of containers and virtual machines, or all others."""
    return {"match": {"op": op, "left": {"meta": {"key": key}}, "right": {"set": list(INSIDE)}}}


def accepts(direction: str, flows: list[str]) -> list[list[Table]]:
    """Return the rules that let these flows through."""
    return [[*body, {"accept": None}] for flow in flows for body in bodies_of(direction, *parsed(flow))]


def limits(direction: str) -> list[list[Table]]:
    """Return the rules that turn away who knocks too often at the way in: one for IPv4, one for IPv6.

    They turn away instead of letting in, so that a full memory of addresses keeps nobody out.
    """
    if direction != "inbound":
        return []
    return [
        [
            matched("payload", {"protocol": "tcp", "field": "dport"}, WAY_IN),
            {"meter": {
                "name": name,
                "size": SIZE,
                "key": {"elem": {"val": who, "timeout": FORGET}},
                "stmt": {"limit": {"rate": RATE, "burst": BURST, "per": "minute", "inv": True}},
            }},
            {"drop": None},
        ]
        for name, who in COUNTED.items()
    ]  # fmt: skip


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
        own = [(address, size) for of, address, size in map(block, nets) if of == version]
        if nets and not own:
            continue
        prefixes: list[Table] = [{"prefix": {"addr": address, "len": size}} for address, size in own]
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
