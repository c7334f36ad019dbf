"""What each outlet makes of readings, without a broker."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.core.errors import BadInput
from provisioning.opener.effects import Effect, Page, Publish, as_json
from provisioning.opener.outlets import fit, home_assistant, node_red, outlet, outlets, prometheus, telegraf
from provisioning.profile.units import KNOWN
from tests.opener.home import AT, reading

# Home Assistant's own: where its MQTT discovery looks (components/mqtt/discovery.py), and which units its classes take
# (components/sensor/const.py, DEVICE_CLASS_UNITS), as far as we use them; release 2024.3.
DISCOVERED = re.compile(r"(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config")
TAKEN = {
    "apparent_power": {"VA"}, "battery": {"%"}, "current": {"A", "mA"}, "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "humidity": {"%"}, "illuminance": {"lx"}, "irradiance": {"W/m²", "BTU/(h⋅ft²)"}, "ph": {""},
    "power": {"W", "kW"}, "pressure": {"Pa", "hPa", "kPa", "bar", "cbar", "mbar", "mmHg", "inHg", "psi"},
    "signal_strength": {"dB", "dBm"}, "speed": {"m/s", "km/h", "mph", "kn", "ft/s", "mm/d", "mm/h", "in/d", "in/h"},
    "temperature": {"°C", "°F", "K"}, "voltage": {"V", "mV"}, "weight": {"kg", "g", "mg", "µg", "oz", "lb", "st"},
}  # fmt: skip


def messages(made: list[Effect]) -> list[Publish]:
    """Return the effects, all of which are messages."""
    found = [one for one in made if isinstance(one, Publish)]
    assert len(found) == len(made)
    return found


def samples(content: bytes) -> dict[tuple[str, ...], float]:
    """Read a page with Prometheus' own parser: (metric, device, purpose, name, figure, unit) to value."""
    keys = ("device", "purpose", "name", "figure", "unit")
    families = list(text_string_to_metric_families(content.decode()))
    assert all(family.type == "gauge" and family.documentation for family in families)
    return {(one.name, *(one.labels[key] for key in keys)): one.value for f in families for one in f.samples}


def test_every_outlet_is_found_by_its_file():
    """And an unknown one is one sentence that names them; each says where its effects go."""
    assert outlets() == ("home_assistant", "node_red", "prometheus", "telegraf")
    assert [outlet(name).TAKES for name in outlets()] == ["broker", "broker", "pages", "broker"]
    with pytest.raises(BadInput, match="home_assistant, node_red, prometheus, telegraf"):
        outlet("cloud")


@pytest.mark.parametrize("name", outlets())
def test_readings_alone_are_never_retained(name: str):
    """Whatever holds a figure goes away with its reader; only Home Assistant's announcements stay, without one."""
    made = outlet(name).opened("meadow", [reading(Decimal("21.5"))], {})
    kept = [one for one in made if isinstance(one, Publish) and one.retain]
    assert bool(kept) == (name == "home_assistant")
    assert not any(b"21.5" in one.payload for one in kept)


@pytest.mark.parametrize("name", ["Temp", "a/b/c", "+", "#", "../x", "a b", "é", "", "a" * 33, "x/$SYS", "mean/"])
def test_no_name_reaches_for_other_topics(name: str):
    """A device that was taken over may send any name; what no profile can declare is not handed on."""
    assert fit(reading(Decimal(1), name="temperature/mean"))
    assert not fit(reading(Decimal(1), name=name))
    assert not fit(reading(Decimal(1), device=name + "/"))
    assert not fit(reading(Decimal(1), purpose=name + "+"))


def test_json_holds_the_very_number():
    """Fifteen digits, trailing zeros and large exponents arrive as they were sent; texts stay texts."""
    assert as_json({"a": Decimal("0.100000000000001"), "b": 'x"\n', "c": 3}) == (
        b'{"a": 0.100000000000001, "b": "x\\"\\n", "c": 3}'
    )
    assert json.loads(as_json({"a": Decimal("1E+20")}), parse_int=Decimal) == {"a": Decimal("1E+20")}


def test_node_red_gets_one_object_a_reading():
    """All of the reading, as numbers and words."""
    (one,) = messages(node_red.opened("meadow", [reading(Decimal("21.5"), name="temperature/mean")], {}))
    assert one.topic == "privet-open/node-red/meadow/r7k2/comfort/temperature/mean"
    assert json.loads(one.payload) == {
        "device": "r7k2", "purpose": "comfort", "name": "temperature/mean", "value": 21.5, "unit": "Cel",
        "at": AT, "received": AT + 9, "boot": 3, "seq": 2,
    }  # fmt: skip


def test_telegraf_gets_one_message_a_record():
    """Lines of one record together, each with a time of its own; the same ones when they come again."""
    rows = [reading(Decimal(1)), reading(Decimal(2)), reading(Decimal(3), arrival=2)]
    made = messages(telegraf.opened("meadow", rows, {}))
    assert [one.topic for one in made] == ["privet-open/telegraf/meadow/r7k2/comfort"] * 2
    lines = made[0].payload.decode().splitlines()
    assert lines[0] == f"comfort,device=r7k2,unit=Cel temperature=1 {AT * 10**9 + 2000}"
    assert len(set(lines)) == 2
    assert made == telegraf.opened("meadow", rows, {})


def test_prometheus_reads_the_page():
    """Its own parser finds the newest number of each field, its unit and time; an older one does not come back."""
    kept: dict[str, Any] = {}
    old, new = reading(Decimal(20), at=AT - 60, arrival=2), reading(Decimal("21.5"))
    odd = reading(Decimal(-3), name="level", unit='a"b\\c\nd', device="other")
    made = prometheus.opened("meadow", [new, old, odd, reading("door opened", unit="")], kept)
    (page,) = made
    assert isinstance(page, Page)
    found = samples(page.content)
    assert found["privet_reading", "r7k2", "comfort", "temperature", "", "Cel"] == 21.5
    assert found["privet_reading_at_seconds", "r7k2", "comfort", "temperature", "", "Cel"] == AT
    assert found["privet_reading", "other", "comfort", "level", "", 'a"b\\c\nd'] == -3
    assert len(found) == 4
    assert prometheus.opened("meadow", [old], kept) == []
    assert prometheus.resumed("meadow", kept) == made
    (rest,) = prometheus.forgotten("meadow", kept, "r7k2", "comfort")
    assert isinstance(rest, Page) and {row[1] for row in samples(rest.content)} == {"other"}
    assert prometheus.forgotten("meadow", kept, "", "heart") == prometheus.forgotten("meadow", kept, "r7k2", "") == []
    assert prometheus.forgotten("meadow", kept, "", "") == [Page(name="privet.prom", content=b"")]


@pytest.mark.parametrize("unit", sorted(KNOWN))
def test_home_assistant_is_told_no_unit_or_class_that_is_not_so(unit: str):
    """Each SenML unit: a class takes the unit it is told with, and unsure ones have a unit alone or nothing."""
    told = home_assistant.announcement("meadow", reading(Decimal(1), unit=unit))[1]
    shown, sort = told.get("unit_of_measurement", ""), told.get("device_class", "")
    assert not sort or shown in TAKEN[sort]
    assert ("state_class" in told) == bool(sort)
    assert unit not in {"%", "count", "B", "ppm", "Ohm", "kWh", "l"} or not sort


def test_home_assistant_finds_a_sensor():
    """Announced once, where it looks; the state is where the announcement says, and its template takes the value."""
    kept: dict[str, Any] = {}
    warm, text = reading(Decimal("21.5"), name="temperature/mean"), reading("x" * 400, name="warning", unit="")
    made = messages(home_assistant.opened("meadow", [warm, warm, text], kept))
    assert [one.retain for one in made] == [True, False, False, True, False]
    found = DISCOVERED.fullmatch(made[0].topic.removeprefix("homeassistant/"))
    assert found is not None and found.groups() == ("sensor", "meadow_r7k2", "comfort-temperature-mean")
    told = json.loads(made[0].payload)
    assert told["state_topic"] == made[1].topic
    assert told["device_class"] == "temperature" and told["unit_of_measurement"] == "°C"
    assert told["name"] == "Temperature, mean"
    assert json.loads(made[1].payload) == {"value": 21.5, "at": AT}
    assert (
        "device_class" not in json.loads(made[3].payload) and "[:255]" in json.loads(made[3].payload)["value_template"]
    )
    assert home_assistant.resumed("meadow", kept) == [made[0], made[3]]


def test_home_assistant_drops_what_is_forgotten():
    """One device, then all: each announcement is emptied, once; another fleet's memory is refused."""
    kept: dict[str, Any] = {}
    home_assistant.opened("meadow", [reading(Decimal(1)), reading(Decimal(1), device="other")], kept)
    with pytest.raises(BadInput, match="another fleet"):
        home_assistant.forgotten("field", kept, "r7k2", "")
    gone = messages(home_assistant.forgotten("meadow", kept, "other", "comfort"))
    assert [(one.topic, one.payload, one.retain) for one in gone] == [
        ("homeassistant/sensor/meadow_other/comfort-temperature/config", b"", True)
    ]
    assert home_assistant.forgotten("meadow", kept, "", "heart") == []
    assert len(home_assistant.forgotten("meadow", kept, "", "")) == 1
    assert kept == {}
