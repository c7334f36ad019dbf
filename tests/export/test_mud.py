"""A MUD file is another form of the declared flows: sound by RFC 8519 and 8520, and read back as the very same."""

import copy
import ipaddress
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agent.core.errors import BadInput
from agent.providers.linux.nft import flows as firewall
from agent.providers.linux.nft import steps
from provisioning.export import Flows, Subject, form, forms
from provisioning.export.mud import read, written
from provisioning.export.mud.words import LAN
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import baseline, declared
from provisioning.profile.inherit import load
from provisioning.profile.schema import Profile
from tests.house import ROOT

SCHEMA = Draft202012Validator(json.loads((Path(__file__).parent / "mud.schema.json").read_text("utf-8")))
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PROFILES = sorted((ROOT / "device_profiles").glob("*.toml"))

PORTS = st.integers(1, 65535)
RANGES = st.tuples(PORTS, PORTS).filter(lambda ends: ends[0] != ends[1]).map(lambda ends: "{}-{}".format(*sorted(ends)))
WHAT = st.one_of(
    st.just("any/any"),
    st.sampled_from(["icmp/any", "icmp/echo"]),
    st.tuples(st.sampled_from(["tcp", "udp"]), st.one_of(st.just("any"), PORTS.map(str), RANGES)).map("/".join),
)
V4 = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda net: ipaddress.ip_network(net, strict=False))
V6 = st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(lambda net: ipaddress.ip_network(net, strict=False))
NAMES = st.from_regex(r"([a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?\.){1,3}(com|example|org)", fullmatch=True)
PEERS = st.one_of(st.sampled_from(["any", "lan", "loopback"]), V4.map(str), V6.map(str), NAMES)
FLOWS = st.lists(st.tuples(WHAT, PEERS).map("@".join), max_size=6).map(lambda found: tuple(sorted(set(found))))


def subject(flows: Flows, **more: Any) -> Subject:
    """Make a subject with these flows."""
    profile = Profile(**{"model": "porch_camera", "title": "A camera on the porch"} | more)
    return Subject(profile, flows, NOW, "https://maker.example/camera.json")


def sound(text: str) -> dict[str, Any]:
    """Return a file that keeps to the structure of the RFCs, and to what no schema says."""
    whole: dict[str, Any] = json.loads(text)
    SCHEMA.validate(whole)
    lists = [one["name"] for one in whole["ietf-access-control-list:acls"]["acl"]]
    about = whole["ietf-mud:mud"]
    named = [
        row["name"]
        for policy in ("from-device-policy", "to-device-policy")
        for row in about[policy]["access-lists"]["access-list"]
    ]
    assert sorted(lists) == sorted(set(named))
    for one in whole["ietf-access-control-list:acls"]["acl"]:
        names = [ace["name"] for ace in one["aces"]["ace"]]
        assert len(names) == len(set(names))
    return whole


@given(FLOWS, FLOWS)
@example(("any/any@any",), ())
@example((), ("any/any@any",))
@example(("udp/any@any",), ("udp/any@any",))
@example(("tcp/any@lan", "tcp/any@0.0.0.0/0"), ("tcp/any@lan",))
@example(("icmp/echo@any", "icmp/any@any"), ("icmp/echo@lan",))
@example(("udp/53@lan",), ("udp/53@lan",))
@example(("udp/5@::/0",), ("udp/5@any", "udp/5@0.0.0.0/0"))
def test_what_is_written_is_read_back(inbound, outbound):
    """Any flows: the file is sound, and says exactly them; loopback never reaches a network."""
    text = written(subject(Flows(inbound, outbound)))
    sound(text)
    seen = (sorted(flow for flow in side if not flow.endswith("@loopback")) for side in (inbound, outbound))
    assert read(text) == Flows(*map(tuple, seen))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_it_is_the_object_the_firewall_is_made_from(path):
    """Each profile that ships: the file read back makes the firewall load, to the byte, what the policy does."""
    profile = load(path, shipped()).profile
    values = baseline(profile, shipped())
    flows = Flows(declared(profile, "inbound"), declared(profile, "outbound"))
    if profile.platform != "pico":  # which has no firewall: there the file is all that holds it
        assert flows == Flows(tuple(values["firewall.inbound"]), tuple(values["firewall.outbound"]))
    whole = sound(written(Subject(profile, flows, NOW, "https://maker.example/x.json")))
    again = read(json.dumps(whole))
    for side in ("inbound", "outbound"):
        assert steps({"direction": side}, getattr(again, side)) == steps({"direction": side}, getattr(flows, side))


def test_our_own_network_is_the_firewalls():
    """The blocks that stand for our own network in a file of one version are those of the firewall."""
    assert (*LAN[4], *LAN[6]) == firewall.LAN


def test_the_end_of_support_is_said():
    """A network learns that nobody mends the device any more; a long title is cut as the RFC wants it."""
    for until, supported in (("2026-11-27", True), ("2026-11-26", False)):
        ends = datetime.fromisoformat(until).date()
        about = sound(written(subject(Flows((), ()), support_until=ends, title="T" * 90)))["ietf-mud:mud"]
        assert (about["is-supported"], len(about["systeminfo"])) == (supported, 60)


def test_forms_are_found_by_their_names():
    """Adding one is adding a file."""
    assert "mud" in forms()
    assert form("mud").read(written(subject(Flows((), ())))) == Flows((), ())
    with pytest.raises(BadInput, match=r"choose from: .*mud"):
        form("../mud")


LAMP: dict[str, Any] = {
    "ietf-mud:mud": {
        "mud-version": 1,
        "mud-url": "https://lamps.example/lamp",
        "last-update": "2019-01-28T11:20:51+01:00",
        "is-supported": True,
        "from-device-policy": {"access-lists": {"access-list": [{"name": "a-v4fr"}, {"name": "b-v6fr"}]}},
        "to-device-policy": {"access-lists": {"access-list": [{"name": "a-v4to"}]}},
    },
    "ietf-access-control-list:acls": {
        "acl": [
            {"name": "a-v4fr", "type": "ipv4-acl-type", "aces": {"ace": [
                {"name": "cl0", "actions": {"forwarding": "accept"}, "matches": {
                    "ipv4": {"ietf-acldns:dst-dnsname": "Cloud.Lamps.example", "protocol": 6},
                    "tcp": {"ietf-mud:direction-initiated": "from-device",
                            "destination-port": {"operator": "eq", "port": 443}}}},
                {"name": "time", "actions": {"forwarding": "accept"}, "matches": {
                    "ipv4": {"protocol": 17}, "udp": {"destination-port": {"port": 123}}}},
                {"name": "high", "actions": {"forwarding": "accept"}, "matches": {
                    "ipv4": {"protocol": 17}, "udp": {"destination-port": {"operator": "gte", "port": 50000}}}},
            ]}},
            {"name": "b-v6fr", "type": "ietf-access-control-list:ipv6-acl-type", "aces": {"ace": [
                {"name": "home", "actions": {"forwarding": "accept"}, "matches": {
                    "ietf-mud:mud": {"local-networks": [None]}, "ipv6": {"protocol": 6},
                    "tcp": {"destination-port": {"lower-port": 80, "upper-port": 81}}}},
            ]}},
            {"name": "a-v4to", "type": "ipv4-acl-type", "aces": {"ace": [
                {"name": "cl0", "actions": {"forwarding": "accept"}, "matches": {
                    "ipv4": {"ietf-acldns:src-dnsname": "cloud.lamps.example", "protocol": 6},
                    "tcp": {"ietf-mud:direction-initiated": "from-device",
                            "source-port": {"operator": "eq", "port": 443}}}},
                {"name": "app-answer", "actions": {"forwarding": "accept"}, "matches": {
                    "ipv4": {"source-ipv4-network": "192.168.1.7/24"}}},
            ]}},
        ]
    },
}  # fmt: skip
READ = Flows(
    ("any/any@192.168.1.0/24",),
    (
        "tcp/443@cloud.lamps.example",
        "tcp/80-81@fc00::/7",
        "tcp/80-81@fe80::/10",
        "udp/123@0.0.0.0/0",
        "udp/50000-65535@0.0.0.0/0",
    ),
)


def test_a_file_of_others_is_read_no_wider_than_it_is():
    """A name stays a name, lists of one version stay that version's, answers are no flows; a look-alike is one."""
    SCHEMA.validate(LAMP | {"ietf-access-control-list:acls": {"acl": LAMP["ietf-access-control-list:acls"]["acl"][:1]}})
    assert read(json.dumps(LAMP)) == READ


def ace(whole: Any, place: int = 0) -> dict[str, Any]:
    """Return an entry of the first list."""
    found: dict[str, Any] = whole["ietf-access-control-list:acls"]["acl"][0]["aces"]["ace"][place]
    return found


# What is done to the file above, and what is then said about it.
BREAKS = [
    (lambda w: w.pop("ietf-mud:mud"), 'lacks "ietf-mud:mud"'),
    (lambda w: w.pop("ietf-access-control-list:acls"), 'lacks "ietf-access-control-list:acls"'),
    (lambda w: w["ietf-mud:mud"].update({"mud-version": 2}), "another version of MUD"),
    (lambda w: w["ietf-mud:mud"].pop("to-device-policy"), 'lacks "to-device-policy"'),
    (lambda w: w["ietf-mud:mud"]["to-device-policy"].update({"access-lists": {"access-list": [{"name": "q"}]}}), '"q"'),
    (lambda w: w["ietf-access-control-list:acls"].update(acl={}), "no list of tables"),
    (lambda w: w["ietf-access-control-list:acls"].update(acl=[7]), "no list of tables"),
    (lambda w: w["ietf-access-control-list:acls"]["acl"][0].update(type="eth-acl-type"), '"eth-acl-type"'),
    (lambda w: ace(w)["actions"].update(forwarding="drop"), '"cl0"'),
    (lambda w: ace(w).pop("actions"), 'lacks "actions"'),
    (lambda w: ace(w)["matches"].update(eth={}), '"cl0"'),
    (lambda w: ace(w)["matches"].update(udp={}), '"cl0"'),
    (lambda w: ace(w)["matches"]["ipv4"].update(protocol=47), '"cl0"'),
    (lambda w: ace(w)["matches"]["ipv4"].update(ttl=1), '"cl0"'),
    (lambda w: ace(w)["matches"]["ipv4"].update({"destination-ipv4-network": "10.0.0.0/8"}), '"cl0"'),
    (lambda w: ace(w)["matches"]["ipv4"].update({"ietf-acldns:dst-dnsname": "lan"}), '"cl0"'),
    (lambda w: ace(w)["matches"]["ipv4"].update({"ietf-acldns:dst-dnsname": 'x" }\n'}), '"cl0"'),
    (lambda w: ace(w)["matches"].update({"ietf-mud:mud": {"my-controller": [None]}}), '"cl0"'),
    (lambda w: ace(w)["matches"]["tcp"].update({"ietf-mud:direction-initiated": "to-device"}), '"cl0"'),
    (lambda w: ace(w)["matches"]["tcp"].update({"source-port": {"port": 1}}), '"cl0"'),
    (lambda w: ace(w)["matches"]["tcp"].update({"destination-port": {"operator": "neq", "port": 1}}), '"cl0"'),
    (lambda w: ace(w)["matches"]["tcp"].update({"destination-port": {"port": "443"}}), '"cl0"'),
    (lambda w: ace(w, 1)["matches"]["udp"].update({"destination-port": {"port": 0}}), "is no flow"),
    (
        lambda w: ace(w, 1)["matches"]["udp"].update({"destination-port": {"lower-port": 9, "upper-port": 8}}),
        "is no flow",
    ),
    (lambda w: ace(w)["matches"]["tcp"].update(flags="syn"), '"cl0"'),
    (lambda w: w["ietf-access-control-list:acls"]["acl"][0]["aces"]["ace"].pop(0), "nothing that asks"),
]


@pytest.mark.parametrize(("hurt", "said"), BREAKS)
def test_what_cannot_be_said_as_flows_is_refused_in_one_sentence(hurt, said):
    """Each of these would open more, or something else, if what is not understood were passed over."""
    whole = copy.deepcopy(LAMP)
    hurt(whole)
    with pytest.raises(BadInput, match=said) as told:
        read(json.dumps(whole))
    assert "\n" not in str(told.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.integers(0, 200), JSON)
@example(0, "[" * 10)
def test_no_file_makes_the_reader_stumble(place, other):
    """Whatever stands anywhere in a file, there are flows or one sentence."""
    whole = copy.deepcopy(LAMP)
    places = list(spots(whole))
    table, key = places[place % len(places)]
    table[key] = other
    for text in (json.dumps(whole), json.dumps(other), str(other), "[" * 100_000):
        assert len(said_of(text).splitlines()) <= 1


def said_of(text: str) -> str:
    """Read a file; return what is said about it, nothing when it can be read."""
    try:
        read(text)
    except BadInput as told:
        return str(told)
    return ""


def spots(table: Any) -> Any:
    """Return every place in a file where something stands."""
    for key in table if isinstance(table, dict) else range(len(table)):
        yield table, key
        if isinstance(table[key], dict | list):
            yield from spots(table[key])
