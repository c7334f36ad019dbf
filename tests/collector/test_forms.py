"""Readings in the forms of other programs, read back by those programs' own libraries."""

import csv
import io
import re
from decimal import Decimal

import pytest
from pyarrow import parquet

from agent.core.errors import BadInput
from provisioning.collector.forms import form, forms
from provisioning.collector.open import Place
from provisioning.collector.receive import Reading
from tests.collector.device import HOME, Make, Sender, pack

AT = 1_790_655_360


def reading(value: Decimal | str, arrival: int = 1, seq: int = 2, unit: str = "Cel", device: str = "r7k2") -> Reading:
    """Make one reading."""
    place = Place(device=device, purpose="room comfort", boot=3)
    return Reading(
        arrival=arrival, place=place, seq=seq, name="temperature", unit=unit, value=value, at=AT, received=AT + 9
    )


def written(name: str, *readings: Reading) -> bytes:
    """Write readings in a form."""
    out = io.BytesIO()
    assert form(name).write(iter(readings), out) == len(readings)
    return out.getvalue()


def test_every_form_is_found_by_its_file():
    """And an unknown one is one sentence that names them."""
    assert forms() == ("csv", "influx", "parquet")
    with pytest.raises(BadInput, match="csv, influx, parquet"):
        form("excel")


def test_csv_reads_back_and_is_no_program():
    """Numbers stay exact; commas, quotes and line breaks survive; what a spreadsheet would run is a text."""
    texts = ["plain", 'a "b", c', "two\nlines", "=HYPERLINK(1)", "@x", "-2+3"]
    raw = written("csv", reading(Decimal("-21.50")), *(reading(text, unit="") for text in texts))
    rows = list(csv.DictReader(io.StringIO(raw.decode(), newline="")))
    assert rows[0]["value"] == "-21.50"
    assert rows[0]["at"] == "2026-09-29T04:16:00Z"
    assert [row["value"] for row in rows[1:4]] == texts[:3]
    assert [row["value"] for row in rows[4:]] == ["'" + text for text in texts[3:]]


def parsed(line: str) -> tuple[str, dict[str, str], dict[str, str], int]:
    """Take a line apart as the reference says: unescaped commas, spaces and equals signs divide."""
    head, fields, moment = re.split(r'(?<!\\) (?=(?:[^"]|"(?:[^"\\]|\\.)*")*$)', line)
    measurement, *tags = re.split(r"(?<!\\),", head)
    plain = [re.sub(r"\\(.)", r"\1", word) for word in (measurement, *tags)]
    name, value = re.split(r"(?<!\\)=", fields, maxsplit=1)
    return plain[0], dict(tag.split("=", 1) for tag in plain[1:]), {name: value}, int(moment)


def test_line_protocol_keeps_every_reading_apart():
    """Names with spaces, commas and equals signs; minimised times are alike, and no reading replaces another."""
    many = [reading(Decimal("21.5"), 1, 2), reading(Decimal(22), 1, 2), reading(Decimal("1E+2"), 2, 3, "%RH", "a, b=c")]
    lines = [parsed(line) for line in written("influx", *many).decode().splitlines()]
    assert lines[0] == ("room comfort", {"device": "r7k2", "unit": "Cel"}, {"temperature": "21.5"}, AT * 10**9 + 2000)
    assert lines[1][3] == AT * 10**9 + 2001
    assert lines[2][1:3] == ({"device": "a, b=c", "unit": "%RH"}, {"temperature": "100"})
    text = written("influx", reading('say "hi"\\', unit="")).decode()
    assert text.startswith('room\\ comfort,device=r7k2 temperature="say \\"hi\\"\\\\" ')


def test_parquet_is_exact():
    """Decimals and times as they were; a text in a column of its own."""
    table = parquet.read_table(io.BytesIO(written("parquet", reading(Decimal("-0.1")), reading("door opened"))))
    rows = table.to_pylist()
    assert (rows[0]["value"], rows[0]["text"]) == (Decimal("-0.1"), None)
    assert (rows[1]["value"], rows[1]["text"]) == (None, "door opened")
    assert rows[0]["at"].timestamp() == AT
    assert str(table.schema.field("at").type) == "timestamp[ms, tz=UTC]"


def test_nothing_is_a_form_too():
    """No readings: a head line, an empty file, an empty table."""
    assert written("csv").count(b"\n") == 1
    assert written("influx") == b""
    assert parquet.read_table(io.BytesIO(written("parquet"))).num_rows == 0


def test_what_is_over_its_time_is_counted_before_it_is_forgotten(make: Make):
    """The dry run tells the number that forgetting then empties."""
    sender, collector = Sender([HOME]), make()
    collector.receive([sender.epoch(), sender.seal(pack(1, 2)), sender.seal(pack(3))])
    later = 4_000_000_000
    assert collector.store.over(later) == 2
    assert collector.store.over(later, purpose="other") == 0
    with collector.store.transaction():
        assert collector.store.forget(later) == 2
    assert collector.store.over(later) == 0
