"""From a MUD file, ours or that of others, to flows.

Whatever cannot be said as a flow is refused: a match left out would open more than the file does.
"""

import ipaddress
import json
import re
from typing import Any

from agent.core.errors import BadInput
from provisioning.export import Flows
from provisioning.export.mud.words import (
    ACLS,
    ALL,
    ANSWER,
    DNS,
    ECHO,
    INITIATED,
    LAN,
    MUD,
    NUMBERS,
    OTHER,
    SIDES,
    Entry,
    Table,
    host,
    version_of,
)
from provisioning.profile.source import printable
from provisioning.profile.words import flow_word


def read(text: str) -> Flows:
    """Return the flows of a MUD file; BadInput says what in it is no MUD file, or no flow."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInput("this is no MUD file, for it is not readable as JSON; ask its maker for another") from None
    about = part(whole, MUD)
    if about.get("mud-version") != 1:
        raise BadInput("the file is of another version of MUD than 1; ask its maker for one of RFC 8520")
    lists = {str(one.get("name")): one for one in rows(part(whole, ACLS), "acl")}
    found: dict[int, list[Entry]] = {4: [], 6: []}
    for side, (policy, _, _, _) in SIDES.items():
        for row in rows(part(part(about, f"{policy}-policy"), "access-lists"), "access-list"):
            version, entries = entries_in(lists, str(row.get("name")), side)
            found[version] += entries
    peers: dict[tuple[str, str], dict[int, set[str]]] = {}
    for version, entries in found.items():
        for entry in flows_among(entries):
            of = peers.setdefault((entry.side, f"{entry.protocol}/{entry.port}"), {4: set(), 6: set()})
            of[version].add(entry.peer)
    made: dict[str, set[str]] = {side: set() for side in SIDES}
    for (side, what), of in peers.items():
        made[side].update(checked(f"{what}@{peer}") for peer in joined(of))
    return Flows(*(tuple(sorted(made[side])) for side in ("inbound", "outbound")))


def part(table: Any, key: str) -> Table:
    """Return a table within a table."""
    inner = table.get(key) if isinstance(table, dict) else None
    if not isinstance(inner, dict):
        raise BadInput(f'this is no MUD file of RFC 8520, for it lacks "{key}"; ask its maker for another')
    return inner


def rows(table: Table, key: str) -> list[Table]:
    """Return a list of tables within a table."""
    inner = table.get(key, [])
    if not isinstance(inner, list) or not all(isinstance(row, dict) for row in inner):
        raise BadInput(f'"{key}" of the MUD file is no list of tables; ask its maker for another')
    return inner


def entries_in(lists: dict[str, Table], name: str, side: str) -> tuple[int, list[Entry]]:
    """Return the version of IP of a list that a policy names, and its entries."""
    if name not in lists:
        raise BadInput(
            f'the MUD file names the list "{printable(name)}" and does not hold it; ask its maker for another'
        )
    kind = str(lists[name].get("type")).removeprefix("ietf-access-control-list:")
    version = {"ipv4-acl-type": 4, "ipv6-acl-type": 6}.get(kind)
    if version is None:
        said = f'the list "{printable(name)}" of the MUD file is of the kind "{printable(kind)}"'
        raise BadInput(f"{said}; only lists for IPv4 or IPv6 can be read as flows")
    return version, [entry_of(ace, side, version) for ace in rows(part(lists[name], "aces"), "ace")]


def entry_of(ace: Table, side: str, version: int) -> Entry:
    """Read one entry of a list."""
    name = str(ace.get("name"))
    forwarding = str(part(ace, "actions").get("forwarding")).removeprefix("ietf-access-control-list:")
    matches = dict(part(ace, "matches"))
    ip, peers = dict(optional(matches, f"ipv{version}")), optional(matches, MUD)
    known = {value: key for key, value in NUMBERS[version].items()}
    number = ip.pop("protocol", None)
    named = [key for key in known.values() if key in matches]
    protocol = known.get(number, "") if type(number) is int else (named or ["any"])[0] if number is None else ""
    if forwarding != "accept" or not protocol or named not in ([], [protocol]):
        raise refused(name)
    above = dict(optional(matches, protocol))
    peer = peer_of(ip, peers, side, name)
    initiated, source, target, kind = (
        above.pop(key, None) for key in (INITIATED, "source-port", "destination-port", "type")
    )
    left = set(matches) - {f"ipv{version}", MUD, protocol}
    if ip or above or left or (source is not None and target is not None):
        raise refused(name)
    if kind is not None:
        if protocol != "icmp" or type(kind) is not int or kind not in ECHO[version]:
            raise refused(name)
        return Entry(side, "icmp", "echo", peer, answer=kind == ECHO[version][1])
    port = "any" if source is None and target is None else spelled(source if target is None else target, name)
    if initiated is None:
        by_name = source is None and target is None and name.endswith(ANSWER)
        return Entry(side, protocol, port, peer, source is not None or by_name, not by_name)
    answer = initiated != SIDES[side][0]
    if initiated not in ("to-device", "from-device") or (target if answer else source) is not None:
        raise refused(name)
    return Entry(side, protocol, port, peer, answer)


def optional(table: Table, key: str) -> Table:
    """Return a table within a table, an empty one when it is not there."""
    return part(table, key) if key in table else {}


def refused(name: str) -> BadInput:
    """Say that an entry cannot be said as a flow."""
    return BadInput(
        f'the entry "{printable(name)}" of the MUD file matches what no flow can say; leave it out of the file to go on'
    )


def peer_of(ip: Table, peers: Table, side: str, name: str) -> str:
    """Take the peer out of the matches of an entry."""
    _, end, short, _ = SIDES[side]
    blocks = [ip.pop(key) for key in list(ip) if re.fullmatch(rf"{end}-ipv[46]-network", key)]
    names = [ip.pop(key) for key in list(ip) if key == f"{DNS}:{short}-dnsname"]
    local = ["lan"] if peers == {"local-networks": [None]} else []
    if len(blocks) + len(names) + len(local) > 1 or (peers and not local):
        raise refused(name)
    if names and not (isinstance(names[0], str) and host(names[0].lower())):
        raise refused(name)
    if blocks:
        try:
            return str(ipaddress.ip_network(str(blocks[0]), strict=False))
        except ValueError:
            raise refused(name) from None
    return names[0].lower() if names else (local or ["any"])[0]


def spelled(match: Any, name: str) -> str:
    """Spell the ports of an entry as a flow does."""
    if not isinstance(match, dict):
        raise refused(name)
    first, last = match.get("lower-port", match.get("port")), match.get("upper-port", match.get("port"))
    if "port" in match:
        operator = str(match.get("operator", "eq"))
        first, last = {"eq": (first, last), "gte": (first, 65535), "lte": (1, last)}.get(operator, (None, None))
    if not all(type(end) is int for end in (first, last)) or set(match) - {
        "lower-port",
        "upper-port",
        "port",
        "operator",
    }:
        raise refused(name)
    return str(first) if first == last else f"{first}-{last}"


def flows_among(entries: list[Entry]) -> list[Entry]:
    """Return the entries that open something; each answer must have a flow that it answers."""
    flows = {entry for entry in entries if not entry.answer}
    for entry in entries:
        opened = Entry(OTHER[entry.side], entry.protocol, entry.port, entry.peer, answer=False)
        if not entry.answer or opened in flows:
            continue
        if entry.certain:
            what = f"{entry.protocol}/{entry.port}@{entry.peer}"
            raise BadInput(f"the MUD file lets answers of {what} through and nothing that asks; complete it to go on")
        flows.add(entry._replace(answer=False, certain=True))  # nothing but its name said that it was an answer
    return list(flows)


def joined(of: dict[int, set[str]]) -> set[str]:
    """Join the peers of both versions of IP: what only one of them has is said as its blocks."""
    both = of[4] & of[6]
    made = both | {peer for peers in of.values() for peer in peers if version_of(peer)}
    for version, peers in of.items():
        for peer in peers - both:
            if peer == "any":
                made.add(ALL[version])
            elif peer == "lan":
                made.update(LAN[version])
            else:
                made.add(peer)
    return made


def checked(flow: str) -> str:
    """Return a flow that a profile could hold, or one whose peer is a name."""
    what, _, peer = flow.partition("@")
    try:
        flow_word(f"{what}@any" if host(peer) else flow)
    except ValueError:
        raise BadInput(f"the MUD file holds {flow}, which is no flow; correct its ports or addresses") from None
    return flow
