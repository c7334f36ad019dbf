"""Readings as InfluxDB line protocol (its reference, version 2): purpose,device,unit name=value time.

A point with the same measurement, tags and time replaces an earlier one there, and minimised times are coarse: so each
reading gets nanoseconds of its own, from the number of its record and its row in it.
"""

from collections.abc import Iterable
from typing import BinaryIO

from provisioning.collector.receive import Reading

SECOND = 10**9  # nanoseconds
ROWS = 1000  # more than a record has


def write(readings: Iterable[Reading], out: BinaryIO) -> int:
    """Write readings, a line each."""
    count, record, row = 0, 0, 0
    for one in readings:
        row = row + 1 if one.arrival == record else 0
        record = one.arrival
        out.write(line(one, row).encode())
        count += 1
    return count


def line(one: Reading, row: int) -> str:
    """Write one reading; a number as it was sent, a text as a string."""
    tags = {"device": one.place.device, **({"unit": one.unit} if one.unit else {})}
    keys = "".join(f",{name}={escaped(tags[name], ',= ')}" for name in sorted(tags))
    value = f'"{escaped(one.value, chr(34))}"' if isinstance(one.value, str) else f"{one.value:f}"
    moment = one.at * SECOND + (one.seq * ROWS + row) % SECOND
    return f"{escaped(one.place.purpose, ', ')}{keys} {escaped(one.name, ',= ')}={value} {moment}\n"


def escaped(text: str, special: str) -> str:
    """Put a backslash before special characters and backslashes; a line break cannot stand in a key."""
    whole = " ".join(text.split("\n")) if '"' not in special else text
    return "".join("\\" + letter if letter in special or letter == "\\" else letter for letter in whole)
