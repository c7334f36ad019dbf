"""InfluxDB's line protocol, a message for each record: Telegraf's mqtt_consumer with data_format = "influx".

    privet-open/telegraf/<fleet>/<device>/<purpose>

Each reading has a time of its own (collector/forms/influx.py), and the same one when it comes a second time after a
crash: so a data base behind Telegraf keeps it once. Nothing is retained.
"""

from collections.abc import Sequence
from itertools import groupby

from provisioning.collector.forms.influx import line
from provisioning.collector.receive import Reading
from provisioning.opener.effects import Effect, Kept, Publish

TAKES = "broker"
TOP = "privet-open/telegraf"


def opened(fleet: str, readings: Sequence[Reading], kept: Kept) -> list[Effect]:
    """Return a message for each record."""
    made: list[Effect] = []
    for _, record in groupby(readings, key=lambda one: one.arrival):
        rows = list(record)
        place = rows[0].place
        lines = "".join(line(one, row) for row, one in enumerate(rows))
        topic = f"{TOP}/{fleet}/{place.device}/{place.purpose}"
        made.append(Publish(topic=topic, payload=lines.encode(), retain=False))
    return made


def resumed(fleet: str, kept: Kept) -> list[Effect]:
    """Nothing stays, nothing has to be told again."""
    return []


def forgotten(fleet: str, kept: Kept, device: str, purpose: str) -> list[Effect]:
    """Nothing stays."""
    return []
