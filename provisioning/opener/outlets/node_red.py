"""Plain JSON, a topic for each device, purpose and field: Node-RED, and whoever else reads JSON from MQTT.

    privet-open/node-red/<fleet>/<device>/<purpose>/<field>

Nothing is retained. After a crash the newest readings may come a second time: boot and seq tell them apart.
"""

from collections.abc import Sequence

from provisioning.collector.receive import Reading
from provisioning.opener.effects import Effect, Kept, Publish, as_json

TAKES = "broker"
TOP = "privet-open/node-red"


def opened(fleet: str, readings: Sequence[Reading], kept: Kept) -> list[Effect]:
    """Return a message for each reading."""
    return [message(fleet, one) for one in readings]


def message(fleet: str, one: Reading) -> Publish:
    """Lay out one reading."""
    place = one.place
    facts = {
        "device": place.device, "purpose": place.purpose, "name": one.name, "value": one.value, "unit": one.unit,
        "at": one.at, "received": one.received, "boot": place.boot, "seq": one.seq,
    }  # fmt: skip
    topic = f"{TOP}/{fleet}/{place.device}/{place.purpose}/{one.name}"
    return Publish(topic=topic, payload=as_json(facts), retain=False)


def resumed(fleet: str, kept: Kept) -> list[Effect]:
    """Nothing stays, nothing has to be told again."""
    return []


def forgotten(fleet: str, kept: Kept, device: str, purpose: str) -> list[Effect]:
    """Nothing stays."""
    return []
