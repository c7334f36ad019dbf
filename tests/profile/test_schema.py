"""The JSON Schema that editors get: every profile that ships keeps to it, and slips that people make do not."""

import copy
import tomllib
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from provisioning.profile.catalogue import shipped
from provisioning.profile.check import check_alone
from provisioning.profile.editor import json_schema
from provisioning.profile.schema import Profile
from provisioning.profile.source import Source, parse
from tests.export.test_mud import V4, V6, WHAT
from tests.house import ROOT

SCHEMA = json_schema(shipped())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))


def as_json(value: Any) -> Any:
    """Turn what TOML reads into what a schema knows: a date is text of one form."""
    if isinstance(value, dict):
        return {key: as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def known(name: str) -> dict[str, Any]:
    """Read one profile that ships."""
    text = (ROOT / "device_profiles" / f"{name}.toml").read_text(encoding="utf-8")
    made: dict[str, Any] = as_json(tomllib.loads(text))
    return made


def test_the_schema_is_one():
    """It keeps to its own dialect."""
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_that_ships_keeps_to_it(path):
    """No editor paints a red line into a sound profile."""
    assert [error.message for error in VALIDATOR.iter_errors(known(path.stem))] == []


def place(**changes: Any) -> dict[str, Any]:
    """Return a field that is a place."""
    return {"name": "x", "title": "X", "purpose": "upkeep", "bucket": "1h", "cell": "5km", **changes}


# What a hand does to the home hub's profile.
SLIPS = {
    "no model": lambda p: p.pop("model"),
    "no title": lambda p: p.pop("title"),
    "an unknown table": lambda p: p.update(extras={}),
    "a model with a space": lambda p: p.update(model="Home Hub"),
    "an empty title": lambda p: p.update(title="  "),
    "a title without end": lambda p: p.update(title="x" * 401),
    "a date that is none": lambda p: p.update(support_until="soon"),
    "an unknown platform": lambda p: p.update(platform="esp32"),
    "an unknown setting": lambda p: p["settings"].update({"ssh.pasword": "no"}),
    "an option that is none": lambda p: p["settings"].update({"ssh.root": "maybe"}),
    "a number where a word belongs": lambda p: p["settings"].update({"ssh.root": 1}),
    "a word where a number belongs": lambda p: p["settings"].update({"log.retention": "long"}),
    "yes without quotes": lambda p: p["settings"].update({"radio.bluetooth": True}),
    "a setting without its value": lambda p: p["settings"].update({"radio.bluetooth": {"reason": "Why."}}),
    "a flow as a setting": lambda p: p["settings"].update({"firewall.inbound": []}),
    "a flow without its purpose": lambda p: p["flows"]["inbound"].append({"flow": "tcp/1@lan"}),
    "a flow without its peer": lambda p: p["flows"]["inbound"][0].update(flow="tcp/443"),
    "a flow to a name": lambda p: p["flows"]["inbound"][0].update(flow="tcp/443@maker.example"),
    "a third side": lambda p: p["flows"].update(sideways=[]),
    "a purpose that goes to nobody": lambda p: p["purpose"][0].update(recipients=[]),
    "kept for ever": lambda p: p["purpose"][0].update(retention_days=9999),
    "another legal basis": lambda p: p["purpose"][0].update(basis="legitimate interest"),
    "a unit of nobody": lambda p: p["field"][0].update(unit="furlong"),
    "a number without its unit": lambda p: p["field"][0].pop("unit"),
    "a place that is a number too": lambda p: p["field"][0].update(cell="5km"),
    "a place without a unit of length": lambda p: p["field"].append(place(cell="5")),
    "a place with figures": lambda p: p["field"].append(place(keep=["mean"])),
    "a number without quotes": lambda p: p["field"][0].update(precision=0.5),
    "a time in words": lambda p: p["field"][0].update(bucket="one minute"),
    "an unknown secret": lambda p: p["credential"].append({"kind": "wifi"}),
    "an unknown channel": lambda p: p.update(channels=["pigeon"]),
    "a country in words": lambda p: p.update(recipient=[{"id": "a", "name": "A", "country": "Germany"}]),
    "a queue without a unit": lambda p: p.update(queue={"size": "16"}),
    "a broker with a port that is none": lambda p: p.update(broker={"host": "a.example", "port": 70000}),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_seen_while_it_is_typed(slip):
    """Each is refused by the schema alone, before anything of ours runs; and `profile check` refuses it, too."""
    profile = copy.deepcopy(known("home_hub"))
    SLIPS[slip](profile)
    assert list(VALIDATOR.iter_errors(profile)), slip
    assert faulty(profile), slip


def test_a_place_is_no_slip():
    """A field with a cell alone keeps to the schema, and `profile check` takes it."""
    profile = copy.deepcopy(known("home_hub"))
    profile["field"].append(place())
    assert list(VALIDATOR.iter_errors(profile)) == []
    assert not faulty(profile)


def faulty(profile: dict[str, Any]) -> bool:
    """Say whether `profile check` would refuse it."""
    try:
        return bool(check_alone(Profile.model_validate(profile), "home_hub", shipped()))
    except ValidationError:
        return True


@given(st.tuples(WHAT, st.one_of(st.sampled_from(["any", "lan", "loopback"]), V4.map(str), V6.map(str))).map("@".join))
def test_it_refuses_no_flow_that_a_profile_may_name(flow):
    """The pattern for editors is never narrower than the check."""
    text = f'model = "x"\ntitle = "T"\n[flows]\noutbound = [{{ flow = "{flow}", purpose = "P." }}]\n'
    assert parse(Source("x.toml", text))[1] == []
    assert list(VALIDATOR.iter_errors(tomllib.loads(text))) == []
