"""Readings as CSV (RFC 4180): UTF-8, a head line, times as RFC 3339 in UTC."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import BinaryIO

from provisioning.collector.receive import Reading

HEAD = ("device", "purpose", "boot", "seq", "name", "value", "unit", "at", "received")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run when it begins a text


def write(readings: Iterable[Reading], out: BinaryIO) -> int:
    """Write readings; texts that begin like a formula get an apostrophe in front, numbers never."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    rows = csv.writer(text)
    rows.writerow(HEAD)
    count = 0
    for one in readings:
        value = one.value
        if isinstance(value, str) and value.startswith(FORMULA):
            value = "'" + value
        place = one.place
        times = (stamp(one.at), stamp(one.received))
        rows.writerow((place.device, place.purpose, place.boot, one.seq, one.name, value, one.unit, *times))
        count += 1
    text.detach()
    return count


def stamp(at: int) -> str:
    """Write Unix seconds as RFC 3339."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
