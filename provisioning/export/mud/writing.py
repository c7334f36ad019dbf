"""From flows to a MUD file.

Its lists know no connections, so each flow stands there twice: as what is opened, and as what answers.
"""

import json
from collections.abc import Iterable, Iterator

from provisioning.export import Flows, Subject
from provisioning.export.mud.words import (
    ACLS,
    ANSWER,
    DNS,
    ECHO,
    INITIATED,
    MUD,
    NUMBERS,
    OTHER,
    SIDES,
    TITLE,
    Entry,
    Table,
    version_of,
)


def written(subject: Subject) -> str:
    """Return the MUD file of a profile's flows. Those on loopback never reach a network, so they are not in it."""
    profile, lists = subject.profile, list[Table]()
    for side, (_, _, _, mark) in SIDES.items():
        for version in NUMBERS:
            name = f"{profile.model.replace('_', '-')}-v{version}{mark}"
            entries = list(numbered(entries_of(subject.flows, side, version)))
            lists.append({"name": name, "type": f"ipv{version}-acl-type", "aces": {"ace": entries}})
    supported = profile.support_until is None or profile.support_until >= subject.moment.date()
    about: Table = {
        "mud-version": 1,
        "mud-url": subject.url,
        "last-update": subject.moment.isoformat(timespec="seconds"),
        "cache-validity": 48,
        "is-supported": supported,
        "systeminfo": profile.title if len(profile.title) <= TITLE else profile.title[: TITLE - 1] + "…",
        "model-name": profile.model,
    }
    for policy, _, _, mark in SIDES.values():
        names = [{"name": one["name"]} for one in lists if one["name"].endswith(mark)]
        about[f"{policy}-policy"] = {"access-lists": {"access-list": names}}
    return json.dumps({MUD: about, ACLS: {"acl": lists}}, indent=2, ensure_ascii=False) + "\n"


def numbered(entries: Iterable[tuple[Table, bool]]) -> Iterator[Table]:
    """Give each entry its name."""
    for place, (matches, answer) in enumerate(entries):
        yield {
            "name": f"flow{place}{ANSWER if answer else ''}",
            "matches": matches,
            "actions": {"forwarding": "accept"},
        }


def entries_of(flows: Flows, side: str, version: int) -> Iterator[tuple[Table, bool]]:
    """Return what stands in one list: the flows of its side, and the answers to those of the other side."""
    for answer, words in ((False, getattr(flows, side)), (True, getattr(flows, OTHER[side]))):
        for word in words:
            protocol, _, rest = word.partition("/")
            port, _, peer = rest.partition("@")
            if peer != "loopback" and (version_of(peer) in {None, version}):
                yield matches_of(Entry(side, protocol, port, peer, answer), version), answer


def matches_of(entry: Entry, version: int) -> Table:
    """Return the matches of one entry; the side of an entry is that of its list."""
    _, end, short, _ = SIDES[entry.side]
    ip: Table = {"protocol": NUMBERS[version][entry.protocol]} if entry.protocol != "any" else {}
    made: Table = {}
    if entry.peer == "lan":
        made[MUD] = {"local-networks": [None]}
    elif version_of(entry.peer):
        ip[f"{end}-ipv{version}-network"] = entry.peer
    elif entry.peer != "any":
        ip[f"{DNS}:{short}-dnsname"] = entry.peer
    if ip:
        made[f"ipv{version}"] = ip
    above: Table = {}
    if entry.protocol == "tcp":
        above[INITIATED] = SIDES[OTHER[entry.side] if entry.answer else entry.side][0]
    if entry.port == "echo":
        above["type"] = ECHO[version][entry.answer]
    elif entry.port != "any":
        above["source-port" if entry.answer else "destination-port"] = port_match(entry.port)
    if above:
        made[entry.protocol] = above
    return made


def port_match(port: str) -> Table:
    """Write a port or a range."""
    first, dash, last = port.partition("-")
    return {"lower-port": int(first), "upper-port": int(last)} if dash else {"operator": "eq", "port": int(first)}
