"""What goes over the control socket: values as people write them, and what of our own may be shown."""

from typing import Any

from agent.core.record import Value, as_map
from agent.core.setting import Setting, plain
from agent.core.waiver import Waiver

Reply = dict[str, Any]


def replaces(new: Waiver, old: Waiver) -> bool:
    """Say whether a new leave stands in the place of an old one: that for the whole setting ends those for a part."""
    return new.setting == old.setting and new.context in ("", old.context)


def revealed(value: Any) -> str:
    """Return a staged secret as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def readable(row: Any) -> Reply:
    """Write a map, or an entry of the journal, so that it fits JSON; lines of the egress ledger are counted only."""
    table = row if isinstance(row, dict) else as_map(row)
    if table.get("kind") == "egress":
        body = dict(table["body"])
        body["messages"] = len(body.pop("lines"))
        table = {**table, "body": body}
    return {key: spelled(value) for key, value in table.items()}


def spelled(value: Any) -> Any:
    """Turn bytes into hex at any depth."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): spelled(one) for key, one in value.items()}
    return [spelled(one) for one in value] if isinstance(value, list | tuple) else value


def parse(setting: Setting, value: object) -> Value:
    """Read a value as a person writes it: a word, a number, or words with commas."""
    if setting.order in ("at_most", "at_least") and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if setting.order == "subset" and isinstance(value, str):
        return plain([w for w in (part.strip() for part in value.split(",")) if w])
    return plain(value)
