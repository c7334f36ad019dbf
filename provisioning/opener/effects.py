"""What an outlet wants done, as data: messages for the owner's own broker, pages for a directory of theirs."""

import json
from decimal import Decimal
from typing import Any

from agent.core.record import Record

Kept = dict[str, Any]  # what an outlet remembers between two starts, as JSON; each outlet has its own


class Publish(Record):
    """One message for the owner's own broker; `retain`: the broker keeps it, and an empty one there ends that."""

    __slots__ = ("payload", "retain", "topic")
    topic: str
    payload: bytes
    retain: bool


class Page(Record):
    """One file of the directory of pages; empty content removes it."""

    __slots__ = ("content", "name")
    name: str
    content: bytes


Effect = Publish | Page


def as_json(facts: dict[str, Any]) -> bytes:
    """Write one JSON object; a Decimal as the very number it is, which a float would not always be."""
    parts = []
    for name, fact in facts.items():
        value = f"{fact:f}" if isinstance(fact, Decimal) else json.dumps(fact, ensure_ascii=False)
        parts.append(f"{json.dumps(name)}: {value}")
    return ("{" + ", ".join(parts) + "}").encode()
