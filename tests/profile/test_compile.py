"""A compiled policy says exactly what the profile says, in one byte form, signed; and differences are told truly."""

from decimal import Decimal

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cwt import COSE, COSEKey
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput, BadPolicy
from agent.core.notice import notice
from agent.core.telemetry import Sample, minimise, write_number
from provisioning.profile.catalogue import shipped
from provisioning.profile.compile import Issue, as_policy, encode, field_map, policy_map
from provisioning.profile.diff import compare
from provisioning.profile.editor import json_schema
from provisioning.profile.explain import explained
from provisioning.profile.inherit import load
from provisioning.profile.schema import Broker, Profile, TelemetryField
from provisioning.profile.sign import payload_of, sign, verify

TEXT = """
[settings]
"ssh.root" = { value = "key", reason = "Backups." }
[flows]
inbound = [{ flow = "tcp/22@lan", purpose = "To log in." }]
[[purpose]]
id = "climate"
title = "Climate"
text = "Shows how warm it is."
recipients = ["home"]
retention_days = 30
[[field]]
name = "temperature"
title = "Temperature"
unit = "Cel"
purpose = "climate"
precision = "0.5"
low = "-40"
high = "85"
bucket = "1m"
[[recipient]]
id = "home"
name = "Home"
country = "DE"
[[credential]]
kind = "linux_account"
params = { order = ["pi"] }
"""
ISSUE = Issue("garden", 3, 1_800_000_000, {"home": b"k" * 1216}, ("broker.example", 8883))


@pytest.fixture
def loaded(shelf, catalogue):
    """The profile above."""
    return load(shelf.put("x", TEXT), catalogue)


@pytest.fixture
def made(loaded, catalogue):
    """Its policy map."""
    return policy_map(loaded.profile, catalogue, ISSUE)


def test_the_programs_of_inbound_flows_may_listen(shelf):
    """Each program of each port is a word of net.listeners, beside those the profile names itself; no range is lost."""
    own = '"net.listeners" = { value = ["udp/68@any:dhcpcd"], reason = "Its address." }'
    text = TEXT.replace('"ssh.root" = { value = "key", reason = "Backups." }', own)
    flow = '{ flow = "tcp/8000-8001@lan", purpose = "The page.", programs = ["page"] }'
    text = text.replace('purpose = "To log in." }', 'purpose = "To log in.", programs = ["sshd"] }, ' + flow)
    made = policy_map(load(shelf.put("x", text), shipped()).profile, shipped(), ISSUE)
    expected = {f"tcp/{port}@{scope}:page" for port in (8000, 8001) for scope in ("any", "link")}
    expected |= {"tcp/22@any:sshd", "tcp/22@link:sshd", "udp/68@any:dhcpcd"}
    assert set(made["baseline"]["net.listeners"]) == expected


@pytest.mark.parametrize(("named", "words"), [("pi", ["pi", "uid:1000"]), ("uid:1000", ["uid:1000"])])
def test_the_owner_may_sign_in(shelf, named, words):
    """Whoever the credential names as the owner is no stranger, by name or by number; the owner reads why."""
    text = TEXT.replace('"ssh.root" = { value = "key", reason = "Backups." }', "")
    text = text.replace('order = ["pi"]', f'owner_account = "{named}"')
    made = policy_map(load(shelf.put("x", text), shipped()).profile, shipped(), ISSUE)
    assert made["baseline"]["accounts.sign_in"] == words
    assert named in made["reasons"]["accounts.sign_in"]


def test_the_policy_says_what_the_profile_says(made):
    """Every setting is there, the unnamed ones at their strictest; the firewall comes from the flows."""
    assert made["baseline"] == {
        "ssh.password": "no", "ssh.root": "key", "log.days": 7, "sudo.free": [],
        "firewall.inbound": ["tcp/22@lan"], "firewall.outbound": [],
    }  # fmt: skip
    assert made["reasons"] == {"ssh.root": "Backups.", "firewall.inbound": "tcp/22@lan: To log in."}
    assert made["expires"] == 2_209_075_199
    assert made["fields"][0] == {
        "name": "temperature", "title": "Temperature", "unit": "Cel", "purpose": "climate",
        "scale": 1, "step": 5, "low": -400, "high": 850, "bucket": 60,
    }  # fmt: skip
    assert made["queue"] == {"bytes": 1 << 20}
    assert made["broker"] == {"host": "broker.example", "port": 8883}


def test_several_brokers_are_compiled(loaded, catalogue):
    """Those that are tried when the first is away stand beside it, and the device reads them."""
    brokers = Broker(host="a.example", others=[{"host": "b.example"}, {"host": "c.example", "port": 1}])
    made = policy_map(loaded.profile.model_copy(update={"broker": brokers}), catalogue, ISSUE)
    others = [{"host": "b.example", "port": 8883}, {"host": "c.example", "port": 1}]
    assert made["broker"] == {"host": "a.example", "port": 8883, "others": others}
    assert as_policy(made, catalogue).broker["others"] == tuple(others)


def test_the_byte_form_is_one(made):
    """The order in which a map was built leaves no trace, and what was encoded is what comes back."""
    backwards = {key: made[key] for key in reversed(made)}
    assert encode(backwards) == encode(made)
    assert cbor2.loads(encode(made)) == made


def test_a_signed_policy_is_read_by_two_other_hands(made):
    """An independent COSE library accepts it, and so does our own reader with the right key alone."""
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signed = sign(encode(made), key)
    publics = key.public_key().public_bytes_raw(), other.public_key().public_bytes_raw()
    theirs = COSEKey.new({1: 1, -1: 6, 3: -8, -2: publics[0], 2: cbor2.loads(cbor2.loads(signed).value[0])[4]})
    assert COSE.new().decode(signed, theirs) == encode(made)
    assert verify(signed, publics) == encode(made)
    assert payload_of(signed) == made
    with pytest.raises(BadPolicy, match="not signed by a key of this fleet"):
        verify(signed, publics[1:])
    with pytest.raises(BadPolicy):
        verify(sign(encode(made), other), publics[:1])


@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_changed_byte_is_never_accepted(place, flip):
    """Wherever one byte differs, the policy is refused with one error."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signed = bytearray(sign(b"payload", key))
    signed[place % len(signed)] ^= flip
    with pytest.raises(BadPolicy):
        verify(bytes(signed), (key.public_key().public_bytes_raw(),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": {}}, "no key for the recipient home"),
        ({"broker": None}, "names no broker"),
        ({"issued": 2_300_000_000}, "support of x is over"),
    ],
)
def test_an_issue_that_does_not_fit_is_refused(loaded, catalogue, change, said):
    """What lacks is named, with what to do."""
    with pytest.raises(BadInput, match=said):
        policy_map(loaded.profile, catalogue, ISSUE._replace(**change))


def test_the_notice_says_what_an_opener_does(shelf, catalogue):
    """Whoever reads it before agreeing learns that readings are handed on in plain text, and where."""
    sealed = load(shelf.put("x", TEXT), catalogue).profile
    opening = load(shelf.put("x", TEXT.replace('country = "DE"', 'country = "DE"\nkind = "opener"')), catalogue).profile
    texts = [notice(as_policy(policy_map(one, catalogue, ISSUE), catalogue), "climate") for one in (sealed, opening)]
    assert ["in plain text" in text for text in texts] == [False, True]
    assert "Goes to: Home, in plain text for your own programs there (DE)." in texts[1]


DECIMALS = st.decimals(-999999, 999999, places=6).map(lambda number: f"{number:.6f}")


@given(DECIMALS, st.decimals("0.000001", 1000, places=6), st.integers(1, 1000), st.integers(0, 6))
def test_fields_keep_their_numbers(low, step, steps, cut):
    """Range and step of a compiled field are the written ones, and minimising stays inside them."""
    low = str(Decimal(low).quantize(Decimal(1).scaleb(-cut)))
    high = f"{Decimal(low) + step * steps:f}"
    precision = f"{step:f}"
    given_field = {"name": "a", "title": "A", "unit": "m", "purpose": "p", "bucket": "1s"}
    given_field |= {"precision": precision, "low": low, "high": high}
    field = field_map(TelemetryField.model_validate(given_field))
    written = [Decimal(write_number(field[key], field["scale"])) for key in ("step", "low", "high")]
    assert written == [Decimal(precision), Decimal(low), Decimal(high)]


def test_minimising_follows_the_profile(made, catalogue):
    """21.537 °C leaves as 21.5 at the full minute."""
    field = as_policy(made, catalogue).fields[0]
    message = minimise(field, Sample(name="temperature", number="21.537", at=1_800_000_119))
    assert (message.value, message.scale, message.at) == (215, 1, 1_800_000_060)


LOOSER = [
    ('"ssh.root" = { value = "key"', '"ssh.root" = { value = "yes"', 'Title of ssh.root: "key" becomes "yes".'),
    (
        'flow = "tcp/22@lan", purpose = "To log in." }',
        'flow = "tcp/22@lan", purpose = "x" }, { flow = "tcp/1@any", purpose = "x" }',
        "now also tcp/1@any, from anywhere (x).",
    ),
    ("retention_days = 30", "retention_days = 60", "kept for 60 days instead of 30"),
    ('precision = "0.5"', 'precision = "0.1"', "in steps of 0.1"),
    ('bucket = "1m"', 'bucket = "1s"', "timed to 1 s"),
    ('name = "Home"', 'name = "Shop"', "is now Shop"),
    ('kind = "linux_account"\nparams = { order = ["pi"] }', 'kind = "linux_account"', "no longer replaced"),
]


@pytest.mark.parametrize(("old", "new", "said"), LOOSER)
def test_differences_have_a_direction(shelf, catalogue, made, old, new, said):
    """One way it is looser, the other way stricter or another difference; the same policy differs in nothing."""
    before = as_policy(made, catalogue)
    changed = load(shelf.put("x", TEXT.replace(old, new)), catalogue).profile
    after = as_policy(policy_map(changed, catalogue, ISSUE), catalogue)
    there = [one for one in compare(before, after, catalogue) if one.direction == "looser"]
    assert any(said in one.text for one in there)
    back = [one.direction for one in compare(after, before, catalogue) if one.about == there[0].about]
    assert "stricter" in back or said == "is now Shop"
    assert compare(before, before, catalogue) == []


def test_a_loosened_setting_tells_its_risk(shelf, catalogue, made):
    """The risk text of the setting is part of the difference."""
    changed = load(shelf.put("x", TEXT.replace('value = "key"', 'value = "yes"')), catalogue).profile
    found = compare(as_policy(made, catalogue), as_policy(policy_map(changed, catalogue, ISSUE), catalogue), catalogue)
    assert [one.risk for one in found] == ["The risk of yes."]


def test_an_explanation_holds_reasons_and_notices(loaded, made, catalogue):
    """What is explained comes from the policy itself."""
    facts = explained(loaded, as_policy(made, catalogue), catalogue)
    root = next(row for row in facts["settings"] if row["setting"] == "ssh.root")
    assert (root["reason"], root["risks"], root["chosen_by"]) == ("Backups.", ["The risk of key."], "x")
    assert "steps of 0.5 °C" in facts["notices"][0]["text"]
    flow = {"side": "inbound", "flow": "tcp/22@lan", "purpose": "To log in.", "peer": "from your own network"}
    assert facts["flows"] == [flow]
    assert facts["secrets"] == ["the known password of its account"]


def test_the_editor_schema_knows_the_settings(catalogue):
    """Editors offer each setting's options and red-line unknown ones."""
    schema = json_schema(catalogue)
    settings = schema["properties"]["settings"]
    assert settings["properties"]["ssh.root"]["anyOf"][0] == {"enum": ["no", "key", "yes"]}
    assert settings["additionalProperties"] is False
    assert "firewall.inbound" not in settings["properties"]
    assert set(schema["properties"]) == set(Profile.model_fields)
