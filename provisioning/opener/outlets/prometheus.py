"""A page for node_exporter's textfile collector, in Prometheus' text format: of each field its newest number and time.

Names and units stand in labels: a profile's fields are not known here, and a unit is never guessed into a name. Texts
are no numbers and stay out. The collector refuses timestamps of its own, so the time is a figure beside.
"""

from collections.abc import Sequence
from decimal import Decimal

from provisioning.collector.receive import Reading
from provisioning.opener.effects import Effect, Kept, Page

TAKES = "pages"
NAME = "privet.prom"
HEADS = (
    ("privet_reading", "The newest reading of a field, in the SenML unit of its label.", 0),
    ("privet_reading_at_seconds", "When it was measured, as coarsely as its profile says (Unix time).", 1),
)


def opened(fleet: str, readings: Sequence[Reading], kept: Kept) -> list[Effect]:
    """Take up the newest numbers; return the page when it changed."""
    changed = False
    for one in readings:
        if isinstance(one.value, Decimal):
            field, _, figure = one.name.partition("/")
            facts = {"device": one.place.device, "purpose": one.place.purpose, "name": field, "figure": figure}
            labels = ",".join(f'{key}="{escaped(fact)}"' for key, fact in {"fleet": fleet, **facts}.items())
            before = kept.get(labels)
            if before is None or (one.at, one.arrival) >= (before["at"], before["arrival"]):
                kept[labels] = {
                    "device": one.place.device, "purpose": one.place.purpose, "unit": one.unit,
                    "value": f"{one.value:f}", "at": one.at, "arrival": one.arrival,
                }  # fmt: skip
                changed = True
    return [page(kept)] if changed else []


def resumed(fleet: str, kept: Kept) -> list[Effect]:
    """The directory may be one of memory: write the page again."""
    return [page(kept)] if kept else []


def forgotten(fleet: str, kept: Kept, device: str, purpose: str) -> list[Effect]:
    """Take a device's figures out of the page; the page goes with the last one."""
    gone = [key for key, row in kept.items() if device in {"", row["device"]} and purpose in {"", row["purpose"]}]
    for labels in gone:
        del kept[labels]
    return [page(kept)] if gone else []


def page(kept: Kept) -> Page:
    """Write the whole page, the same for the same memory; none for an empty one."""
    lines = []
    for metric, told, which in HEADS if kept else ():
        lines += [f"# HELP {metric} {told}", f"# TYPE {metric} gauge"]
        for labels, row in sorted(kept.items()):
            value = row["at"] if which else row["value"]
            lines.append(f'{metric}{{{labels},unit="{escaped(row["unit"])}"}} {value}')
    return Page(name=NAME, content="".join(line + "\n" for line in lines).encode())


def escaped(text: str) -> str:
    """Write a label's value as the format wants it."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
