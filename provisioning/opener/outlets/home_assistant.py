"""Home Assistant's MQTT discovery: a sensor for each field, shown by itself once the first reading comes.

    homeassistant/sensor/<fleet>_<device>/<purpose>-<field>/config    retained: who it is; empty: it goes
    privet-open/home-assistant/<fleet>/<device>/<purpose>/<field>     not retained: {"value": …, "at": …}

Only what announces a sensor is retained, because Home Assistant reads it after each of its own starts; no reading is. A
sensor therefore shows nothing between such a start and the next reading.

A unit is told where Home Assistant has the very same one, a class where the unit or its SenML meaning leaves no other:
%RH is humidity, but % may be anything. Energy and volume have no class here: theirs must be a sum that only grows,
which a SenML unit does not say.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from agent.core.errors import BadInput
from provisioning.collector.receive import Reading
from provisioning.opener.effects import Effect, Kept, Publish, as_json

TAKES = "broker"
DISCOVERY = "homeassistant/sensor"
TOP = "privet-open/home-assistant"
MEASURED = "measurement"
# SenML unit: the unit of Home Assistant, and its class ("": it has none that is sure to fit).
UNITS = {
    "Cel": ("°C", "temperature"), "K": ("K", "temperature"), "%RH": ("%", "humidity"), "%EL": ("%", "battery"),
    "Pa": ("Pa", "pressure"), "hPa": ("hPa", "pressure"), "lx": ("lx", "illuminance"), "V": ("V", "voltage"),
    "mV": ("mV", "voltage"), "A": ("A", "current"), "mA": ("mA", "current"), "W": ("W", "power"),
    "kW": ("kW", "power"), "VA": ("VA", "apparent_power"), "Hz": ("Hz", "frequency"), "MHz": ("MHz", "frequency"),
    "W/m2": ("W/m²", "irradiance"), "kg": ("kg", "weight"), "g": ("g", "weight"), "dBm": ("dBm", "signal_strength"),
    "m/s": ("m/s", "speed"), "km/h": ("km/h", "speed"), "pH": ("", "ph"),
    "%": ("%", ""), "dB": ("dB", ""), "m": ("m", ""), "cm": ("cm", ""), "mm": ("mm", ""), "km": ("km", ""),
    "s": ("s", ""), "ms": ("ms", ""), "min": ("min", ""), "h": ("h", ""), "deg": ("°", ""), "ppm": ("ppm", ""),
    "Wh": ("Wh", ""), "kWh": ("kWh", ""), "J": ("J", ""), "l": ("L", ""), "m3": ("m³", ""), "m2": ("m²", ""),
}  # fmt: skip
LONGEST = 255  # letters a state may have there
NUMBER, TEXT = "{{ value_json.value }}", "{{ (value_json.value | string)[:%d] }}" % LONGEST


def opened(fleet: str, readings: Sequence[Reading], kept: Kept) -> list[Effect]:
    """Announce each field once, then return a message for each reading."""
    made: list[Effect] = []
    for one in readings:
        topic, told = announcement(fleet, one)
        if kept.get(topic) != told:
            kept[topic] = told
            made.append(announced(topic, told))
        facts: dict[str, Any] = {"value": one.value, "at": one.at}
        made.append(Publish(topic=told["state_topic"], payload=as_json(facts), retain=False))
    return made


def announcement(fleet: str, one: Reading) -> tuple[str, dict[str, Any]]:
    """Return the discovery topic of a field, and what is told there."""
    place = one.place
    node, field = f"{fleet}_{place.device}", f"{place.purpose}-{one.name.replace('/', '-')}"
    told: dict[str, Any] = {
        "name": one.name.replace("_", " ").replace("/", ", ").capitalize(),
        "unique_id": f"privet_{node}_{field}",
        "state_topic": f"{TOP}/{fleet}/{place.device}/{place.purpose}/{one.name}",
        "value_template": TEXT if isinstance(one.value, str) else NUMBER,
        "device": {"identifiers": [f"privet_{node}"], "name": place.device},
        "origin": {"name": "Privet"},
    }
    if isinstance(one.value, Decimal):
        unit, sort = UNITS.get(one.unit, ("", ""))
        told |= {"unit_of_measurement": unit} if unit else {}
        told |= {"device_class": sort, "state_class": MEASURED} if sort else {}
    return f"{DISCOVERY}/{node}/{field}/config", told


def announced(topic: str, told: dict[str, Any]) -> Publish:
    """Lay out an announcement; the broker keeps it."""
    return Publish(topic=topic, payload=json.dumps(told, ensure_ascii=False).encode(), retain=True)


def resumed(fleet: str, kept: Kept) -> list[Effect]:
    """Announce again what was: the broker may have forgotten."""
    return [announced(topic, kept[topic]) for topic in sorted(kept)]


def forgotten(fleet: str, kept: Kept, device: str, purpose: str) -> list[Effect]:
    """Take back what was announced: Home Assistant drops a sensor whose announcement is emptied."""
    gone = []
    for topic in sorted(kept):
        its_device, its_purpose = origin(kept[topic], fleet)
        if device in {"", its_device} and purpose in {"", its_purpose}:
            gone.append(topic)
    for topic in gone:
        del kept[topic]
    return [Publish(topic=topic, payload=b"", retain=True) for topic in gone]


def origin(told: dict[str, Any], fleet: str) -> tuple[str, str]:
    """Return device and purpose of an announcement, from the topic that it names."""
    named, device, purpose = told["state_topic"].removeprefix(TOP + "/").split("/")[:3]
    if named != fleet:
        raise BadInput("this memory belongs to an opener of another fleet; give each its own directory")
    return device, purpose
