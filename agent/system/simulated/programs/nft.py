"""nft and the kernel's tables: a JSON transaction takes effect whole or not at all; everything is gone at a restart.

At each start what our packaged unit does happens here: the saved files of /etc/privet/firewall are loaded.
"""

import copy
import json
import weakref
from typing import TYPE_CHECKING, Any

from agent.core.errors import Missing
from agent.system.door import Outcome

if TYPE_CHECKING:
    from agent.system.simulated.system import SimulatedSystem

SAVED = "/etc/privet/firewall"
METAINFO = {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}
Row = dict[str, Any]
KERNELS: "weakref.WeakKeyDictionary[SimulatedSystem, list[Row]]" = weakref.WeakKeyDictionary()


class RefusedError(Exception):
    """What the kernel says no to."""


def boot(device: "SimulatedSystem") -> None:
    """Start with empty tables, then load what was saved."""
    KERNELS[device] = []
    try:
        names = device.entries(SAVED)
    except Missing:
        return
    for name in names:
        run(device, ("nft", "-j", "-f", f"{SAVED}/{name}"), b"")


def run(device: "SimulatedSystem", argv: tuple[str, ...], stdin: bytes) -> Outcome:
    """List or change the tables: `-j [-s] list ruleset`, `-j -f FILE`, and a few plain words that people use.

    `-f -` takes words too, of which a counter alone has an effect here; nobody sends anything, so a test moves it.
    """
    words = [word for word in argv[1:] if word not in {"-j", "-s"}]
    rows = KERNELS[device]
    if words == ["list", "ruleset"]:
        return Outcome(code=0, out=json.dumps({"nftables": [METAINFO, *rows]}).encode() + b"\n", err=b"")
    if words[:3] == ["list", "counters", "table"]:
        there = any("table" in row and [row["table"]["family"], row["table"]["name"]] == words[3:] for row in rows)
        found = [r for r in rows if "counter" in r and [r["counter"]["family"], r["counter"]["table"]] == words[3:]]
        listing = json.dumps({"nftables": [METAINFO, *found]}).encode() + b"\n"
        return Outcome(code=0 if there else 1, out=listing if there else b"", err=b"")
    try:
        content = device.read(words[1]) if words[:1] == ["-f"] and words[1:] != ["-"] else stdin
        KERNELS[device] = [] if words == ["flush", "ruleset"] else transaction(rows, commands(words, content))
    except (RefusedError, Missing, KeyError, ValueError) as error:
        return Outcome(code=1, out=b"", err=b"Error: %s\n" % str(error).encode())
    return Outcome(code=0, out=b"", err=b"")


def commands(words: list[str], content: bytes) -> list[Row]:
    """Return the commands of a transaction, from JSON or from plain words."""
    if words[:1] == ["-f"] and not content.lstrip().startswith(b"{"):
        lines = [line.split() for line in content.decode().splitlines()]
        return [{"add": {"counter": counter(line)}} for line in lines if line[:2] == ["add", "counter"]]
    if words[:1] == ["-f"]:
        found: list[Row] = json.loads(content)["nftables"]
        return found
    if words[1:2] != ["table"] or len(words) < 4:
        raise RefusedError("syntax error")
    flags = {"flags": "dormant"} if "dormant" in "".join(words[4:]) else {}
    return [{words[0]: {"table": {"family": words[2], "name": words[3], **flags}}}]


def counter(line: list[str]) -> Row:
    """Read the words that add a counter."""
    return {"family": line[2], "table": line[3], "name": line[4], "packets": 0, "bytes": 0}


def transaction(before: list[Row], wanted: list[Row]) -> list[Row]:
    """Return the tables after all commands; RefusedError at the first that cannot be done, and nothing has changed."""
    rows = copy.deepcopy(before)
    for command in wanted:
        act, what = next(iter(command.items()))
        kind, value = next(iter(what.items()))
        if kind == "table":
            table_act(rows, act, value)
        elif kind == "chain":
            chain_act(rows, act, value)
        elif kind == "counter" and act == "add":
            table_act(rows, "add", {"family": value["family"], "name": value["table"]})
            if not any(same(row["counter"], value) for row in rows if "counter" in row):
                rows.append({"counter": value})
        elif kind == "rule" and act in {"add", "insert"}:
            chains = [row["chain"] for row in rows if "chain" in row and same(row["chain"], value)]
            if not any(chain["name"] == value["chain"] for chain in chains):
                raise RefusedError("No such file or directory")
            first = next((n for n, row in enumerate(rows) if "rule" in row and same(row["rule"], value)), len(rows))
            rows.insert(first if act == "insert" else len(rows), {"rule": value})
        else:
            raise RefusedError("Operation not supported")
    return rows


def same(row: Row, value: Row) -> bool:
    """Say whether two chains or rules are in one table."""
    return (row["family"], row["table"]) == (value["family"], value["table"])


def table_act(rows: list[Row], act: str, value: Row) -> None:
    """Add, wake up or delete a table."""
    found = [row["table"] for row in rows if "table" in row and row["table"]["name"] == value["name"]]
    found = [table for table in found if table["family"] == value["family"]]
    if act == "add":
        if not found:
            rows.append({"table": dict(value)})
        elif "flags" in value:
            found[0]["flags"] = value["flags"]
        else:
            found[0].pop("flags", None)
    elif act == "delete" and found:
        gone = {"family": value["family"], "table": value["name"]}
        rows[:] = [r for r in rows if r.get("table") is not found[0] and not within(r, gone)]
    else:
        raise RefusedError("No such file or directory")


def within(row: Row, table: Row) -> bool:
    """Say whether a chain or rule belongs to a table."""
    value = row.get("chain") or row.get("rule") or row.get("counter")
    return value is not None and same(value, table)


def chain_act(rows: list[Row], act: str, value: Row) -> None:
    """Add, flush or delete a chain; an existing one keeps its hook and takes a new policy."""
    named = (value["family"], value["table"], value["name"])
    found = [row["chain"] for row in rows if "chain" in row and (
        row["chain"]["family"], row["chain"]["table"], row["chain"]["name"]) == named]  # fmt: skip
    if act == "add" and not found:
        rows.append({"chain": dict(value)})
    elif act == "add" and found:
        if "hook" in value and (found[0].get("hook"), found[0].get("prio")) != (value["hook"], value["prio"]):
            raise RefusedError("Operation not supported")
        found[0].update({key: value[key] for key in ("policy",) if key in value})
    elif act in {"flush", "delete"} and found:
        inside = [r for r in rows if "rule" in r and same(r["rule"], value) and r["rule"]["chain"] == value["name"]]
        if act == "delete" and inside:
            raise RefusedError("Device or resource busy")
        gone = inside if act == "flush" else [row for row in rows if row.get("chain") is found[0]]
        rows[:] = [row for row in rows if not any(row is one for one in gone)]
    else:
        raise RefusedError("No such file or directory")
