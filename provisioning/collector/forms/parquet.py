"""Readings as Apache Parquet, by pyarrow: exact decimals, times in UTC."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, BinaryIO

from agent.core.errors import Missing
from provisioning.collector.receive import Reading

GROUP = 50_000  # readings in one group of rows, and in memory
PLACES = 6  # decimals, as many as a field can have


def write(readings: Iterable[Reading], out: BinaryIO) -> int:
    """Write readings; a text stands in the column text, a number in the column value."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - large, and not everybody has it
        from pyarrow import parquet  # noqa: PLC0415 - the same
    except ImportError:
        raise Missing("Parquet needs the library pyarrow; install it: pip install 'privet[parquet]'") from None
    schema = pa.schema(
        [
            ("device", pa.string()), ("purpose", pa.string()), ("boot", pa.int64()), ("seq", pa.int64()),
            ("name", pa.string()), ("value", pa.decimal128(38, PLACES)), ("text", pa.string()), ("unit", pa.string()),
            ("at", pa.timestamp("ms", tz="UTC")), ("received", pa.timestamp("ms", tz="UTC")),
        ]
    )  # fmt: skip
    count = 0
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in grouped(readings):
            writer.write_table(pa.Table.from_pylist([table(one) for one in group], schema=schema))
            count += len(group)
    return count


def table(one: Reading) -> dict[str, Any]:
    """Lay one reading out in columns."""
    text = one.value if isinstance(one.value, str) else None
    value = None if isinstance(one.value, str) else one.value.quantize(Decimal(1).scaleb(-PLACES))
    place = one.place
    return {
        "device": place.device, "purpose": place.purpose, "boot": place.boot, "seq": one.seq, "name": one.name,
        "value": value, "text": text, "unit": one.unit, "at": one.at * 1000, "received": one.received * 1000,
    }  # fmt: skip


def grouped(readings: Iterable[Reading]) -> Iterator[list[Reading]]:
    """Return readings in groups."""
    rest = iter(readings)
    while group := list(islice(rest, GROUP)):
        yield group
