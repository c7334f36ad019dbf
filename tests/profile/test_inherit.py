"""Profiles inherit by the stricter value; looser needs a reason and stays under the ceiling."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.errors import BadInput
from agent.core.setting import plain
from provisioning.profile.inherit import examine, load

HEAD = 'model = "{}"\ntitle = "T"\ninherits = "{}"\n'
TELEMETRY = """
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
"""
FIELD = """
[[field]]
name = "temperature"
title = "Temperature"
unit = "Cel"
purpose = "climate"
precision = "{}"
low = "-40"
high = "85"
bucket = "{}"
"""


def child(shelf: Any, text: str, model: str = "child", parent: str = "parent") -> Path:
    """Put a profile that inherits on the shelf."""
    made: Path = shelf.put(model, HEAD.format(model, parent) + text, sound=False)
    return made


def texts(path: Path, catalogue: Any) -> list[tuple[str, int, str]]:
    """Return the faults of a profile."""
    return [(fault.file, fault.line, fault.text) for fault in examine(path, catalogue)[1]]


def test_a_child_takes_everything_it_does_not_say(shelf, catalogue):
    """An empty child is its parent under another name."""
    shelf.put("parent", '[settings]\n"ssh.root" = { value = "key", reason = "Backups." }\n' + TELEMETRY)
    loaded = load(child(shelf, ""), catalogue)
    assert loaded.profile.settings["ssh.root"].value == "key"
    assert [field.name for field in loaded.profile.field] == ["temperature"]
    assert loaded.files == ("child.toml", "parent.toml")
    assert loaded.chosen_by == {"ssh.root": "parent"}


def test_a_child_may_tighten_without_a_word(shelf, catalogue):
    """Stricter never needs a reason."""
    shelf.put("parent", '[settings]\n"ssh.root" = { value = "yes", reason = "Backups." }\n')
    loaded = load(child(shelf, '[settings]\n"ssh.root" = "key"\n'), catalogue)
    assert loaded.profile.settings["ssh.root"].value == "key"
    assert loaded.chosen_by == {"ssh.root": "child"}


def test_a_child_that_loosens_needs_a_reason(shelf, catalogue):
    """Against the parent's value, and against the strictest where the parent says nothing."""
    shelf.put("parent", '[settings]\n"ssh.root" = { value = "key", reason = "Backups." }\n')
    path = child(shelf, '[settings]\n"ssh.root" = "yes"\n"log.days" = 30\n')
    assert texts(path, catalogue) == [
        ("child.toml", 5, '"ssh.root" = "yes" is looser than "key" of the profile parent; add a reason or keep "key"'),
        ("child.toml", 6, '"log.days" = 30 is looser than 7 of the profile parent; add a reason or keep 7'),
    ]
    load(child(shelf, '[settings]\n"ssh.root" = { value = "yes", reason = "Old tool." }\n'), catalogue)


def test_no_reason_lifts_a_ceiling(shelf, catalogue):
    """What a parent rules out stays out, for grandchildren too, and a ceiling is never raised."""
    shelf.put("parent", '[ceilings]\n"ssh.root" = "key"\n')
    child(shelf, '[ceilings]\n"ssh.root" = "no"\n')
    loose = '[settings]\n"ssh.root" = { value = "yes", reason = "I want." }\n'
    for parent, allowed in (("parent", "key"), ("child", "no")):
        path = child(shelf, loose, "grandchild", parent)
        assert texts(path, catalogue)[0][2].endswith(f'the profile {parent} allows at most "{allowed}"; keep to it')
    path = child(shelf, '[ceilings]\n"ssh.root" = "yes"\n', "grandchild", "child")
    assert "may only get stricter" in texts(path, catalogue)[0][2]


def test_a_ceiling_bounds_the_flows(shelf, catalogue):
    """Flows are the firewall's value and obey its ceiling."""
    shelf.put("parent", '[ceilings]\n"firewall.inbound" = ["tcp/22@lan"]\n')
    load(child(shelf, '[flows]\ninbound = [{ flow = "tcp/22@lan", purpose = "To log in." }]\n'), catalogue)
    path = child(shelf, '[flows]\ninbound = [{ flow = "tcp/80@any", purpose = "A page." }]\n')
    assert "allows at most [tcp/22@lan] inbound" in texts(path, catalogue)[0][2]


@given(st.sampled_from(["no", "key", "yes"]), st.sampled_from(["no", "key", "yes"]))
def test_without_reasons_a_child_is_never_looser(tmp_path_factory, catalogue, above, below):
    """Whatever parent and child say, an accepted child without a reason allows at most what its parent allows."""
    folder = tmp_path_factory.mktemp("shelf")
    line = '[settings]\n"ssh.root" = { value = "%s", reason = "R." }\n' % above
    head = 'model = "parent"\ntitle = "T"\nsupport_until = 2040-01-01\nchannels = ["syslog"]\nqueue.size = "1 MiB"\n'
    (folder / "parent.toml").write_text(head + line)
    (folder / "child.toml").write_text(HEAD.format("child", "parent") + f'[settings]\n"ssh.root" = "{below}"\n')
    loaded, faults = examine(folder / "child.toml", catalogue)
    stricter = catalogue.settings["ssh.root"].lattice().leq(below, above)
    assert bool(faults) != stricter
    if loaded is not None and not faults:
        assert plain(loaded.profile.settings["ssh.root"].value) == below


def test_lists_add_up_and_can_leave_out(shelf, catalogue):
    """Flows, purposes and fields of the parent stay unless they are left out by name."""
    shelf.put(
        "parent",
        '[flows]\noutbound = [{ flow = "tcp/1@any", purpose = "A." }, { flow = "tcp/2@any", purpose = "B." }]\n'
        + TELEMETRY,
    )
    text = '[flows]\noutbound = [{ flow = "tcp/3@any", purpose = "C." }]\n'
    text += '[without]\nflows = ["tcp/1@any"]\npurposes = ["climate"]\n'
    profile = load(child(shelf, text), catalogue).profile
    assert [flow.flow for flow in profile.flows.outbound] == ["tcp/2@any", "tcp/3@any"]
    assert (profile.purpose, profile.field) == ([], [])
    assert "has no field" in texts(child(shelf, '[without]\nfields = ["noise"]\n'), catalogue)[0][2]


def test_channels_only_grow(shelf, catalogue):
    """A child cannot silence a warning channel."""
    shelf.put("parent")
    assert load(child(shelf, 'channels = ["mqtt"]\n'), catalogue).profile.channels == ["mqtt", "syslog"]


@pytest.mark.parametrize(
    ("precision", "bucket", "sound"),
    [("1", "1m", True), ("0.5", "5m", True), ("0.1", "1m", False), ("0.5", "1s", False)],
)
def test_a_field_may_only_get_coarser(shelf, catalogue, precision, bucket, sound):
    """Finer steps or finer times than the parent's need a reason."""
    shelf.put("parent", TELEMETRY)
    text = FIELD.format(precision, bucket)
    assert bool(texts(child(shelf, text), catalogue)) != sound
    load(child(shelf, text + 'reason = "The heating needs it."\n'), catalogue)


def test_a_purpose_may_only_get_narrower(shelf, catalogue):
    """A longer retention needs a reason."""
    shelf.put("parent", TELEMETRY)
    longer = TELEMETRY.split("[[field]]", maxsplit=1)[0].replace("= 30", "= 31")
    assert "longer retention" in texts(child(shelf, longer), catalogue)[0][2]
    load(child(shelf, longer + 'reason = "Law."\n'), catalogue)


def test_a_recipient_cannot_be_replaced(shelf, catalogue):
    """The same id never comes to mean somebody else."""
    shelf.put("parent", TELEMETRY)
    path = child(shelf, '[[recipient]]\nid = "home"\nname = "Other"\ncountry = "US"\n')
    assert "another id" in texts(path, catalogue)[0][2]


def test_undeclared_purposes_and_recipients_are_named(shelf, catalogue):
    """A field without its purpose, and a purpose without its recipient, are faults of the file that wrote them."""
    path = shelf.put("x", TELEMETRY.replace('purpose = "climate"', 'purpose = "other"').replace('["home"]', '["away"]'))
    assert [text.split(";")[0] for _, _, text in texts(path, catalogue)] == [
        'the field "temperature" serves the purpose "other", which is not declared',
        'the purpose "climate" goes to "away", which is not declared',
    ]


def test_faults_of_a_parent_are_told_in_its_own_file(shelf, catalogue):
    """The line belongs to the file it is in."""
    shelf.put("parent", "foo = 1\n")
    assert texts(child(shelf, ""), catalogue)[0][:2] == ("parent.toml", 8)


def test_circles_and_missing_parents_are_refused(shelf, catalogue):
    """Inheritance ends."""
    child(shelf, "", "a", "b")
    path = child(shelf, "", "b", "a")
    assert "in a circle" in texts(path, catalogue)[0][2]
    assert 'no profile "c"' in texts(child(shelf, "", "d", "c"), catalogue)[0][2]
    with pytest.raises(BadInput, match="circle"):
        load(path, catalogue)


PICO = 'platform = "pico"\nmodel = "{}"\ntitle = "T"\nsupport_until = 2040-01-01\nchannels = ["{}"]\n'
QUEUE = 'queue.size = "1 MiB"\n'


def test_a_platform_has_its_own_settings(shelf, catalogue):
    """What is Linux's means nothing on a Pico, and nobody inherits across platforms."""
    path = shelf.put("small", PICO.format("small", "mqtt") + QUEUE, sound=False)
    assert load(path, catalogue).profile.platform == "pico"
    assert load(child(shelf, "", "tiny", "small"), catalogue).profile.platform == "pico"
    wrong = (
        PICO.format("wrong", "syslog")
        + QUEUE
        + '[settings]\n"ssh.root" = "no"\n[[credential]]\nkind = "linux_account"\n'
    )
    found = [text.split(" means nothing")[0] for _, _, text in texts(shelf.put("wrong", wrong, sound=False), catalogue)]
    assert found == ['"ssh.root"', '"syslog"', '"linux_account"']
    across = child(shelf, 'platform = "linux"\n', "across", "small")
    assert "is for another platform" in texts(across, catalogue)[0][2]
