"""The kernel's own count of what one account sends: a counter, a set and a chain in our table that drops nothing.

By the account of the socket; and by its pair of ports for two minutes after, because a socket that its process has
closed belongs to nobody, while what was written before still goes out.
"""

import json

from agent.core.errors import Failed, Unreachable
from agent.providers.linux.nft.flows import FAMILY, TABLE
from agent.system.door import System

LIST = ("nft", "-j", "list", "counters", "table", FAMILY, TABLE)
LOAD = ("nft", "-f", "-")
NAME = "courier"
# Words, not JSON: in that, the nft of Debian 12 cannot say "dynamic". Repeating it keeps the counter as it stands.
RULES = """\
add table {where}
add counter {where} {name}
add set {where} {name} {{ type inet_service . inet_service; flags dynamic,timeout; timeout 2m; size 1024; }}
add chain {where} count
flush chain {where} count
delete chain {where} count
add chain {where} count {{ type filter hook postrouting priority 0; policy accept; }}
add rule {where} count meta skuid {uid} meta l4proto {{ 6, 17 }} update @{name} {{ th sport . th dport }}
add rule {where} count meta skuid {uid} counter name {name} accept
add rule {where} count meta l4proto {{ 6, 17 }} th sport . th dport @{name} counter name {name}
"""


def counting(uid: int) -> bytes:
    """Return the transaction that makes the kernel count what an account sends."""
    return RULES.format(where=f"{FAMILY} {TABLE}", name=NAME, uid=uid).encode()


def counted(system: System) -> int | None:
    """Return the bytes that the kernel has counted, None when it does not count; Failed when that cannot be told."""
    outcome = ran(system, LIST)
    if outcome is None:
        return None
    try:
        rows = [row["counter"] for row in json.loads(outcome)["nftables"] if "counter" in row]
        found = [row["bytes"] for row in rows if row["name"] == NAME]
    except (ValueError, LookupError, TypeError):
        raise Failed("nft answered in a form that is not understood; check its version") from None
    return int(found[0]) if found and type(found[0]) is int else None


def count(system: System, uid: int) -> None:
    """Let the kernel count from now on; Failed when it does not."""
    if ran(system, LOAD, counting(uid)) is None:
        raise Failed("the kernel does not count what an account sends (nft refused it); see nft list table inet privet")


def ran(system: System, argv: tuple[str, ...], stdin: bytes = b"") -> bytes | None:
    """Run nft; None when it refuses."""
    try:
        outcome = system.run(argv, stdin)
    except Unreachable:
        raise Failed("nft is not installed or does not answer; install nftables") from None
    return outcome.out if outcome.code == 0 else None
