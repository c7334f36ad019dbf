"""Profiles are read strictly: whatever is wrong is one sentence with file, line and fix."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.errors import BadInput, Missing, PrivetError
from provisioning.profile.inherit import examine, load
from provisioning.profile.source import Source, parse, read_text

TWO_FLOWS = """model = "x"
title = "T"
[flows]
inbound = [
 {flow = "tcp/1@any", purpose = "b"},
 {flow = "udp/1@lan"},
]
"""
FAULTS = [
    ('model = "x\n', 1, "not readable as TOML"),
    ('model = "x"\ntitle = "T"\nmodel = "x"\n', 3, "not readable as TOML"),
    ('model = "x"\n', 1, '"title" is missing; add a line title'),
    ('model = "x"\ntitle = "T"\nchanels = ["a"]\n', 3, 'did you mean "channels"?'),
    ('model = "x"\ntitle = "T"\nsupport_until = "2031-01-01"\n', 3, "a date without quotes"),
    ('model = "x"\ntitle = "T"\n\n# a remark\n[settings]\n\n"ssh.password" = false\n', 7, 'write "no" in quotes'),
    ('model = "x"\ntitle = "T"\n[settings]\na = 1\n"ssh.root" = 1.5\n', 5, "a word in quotes, a whole number"),
    ('model = "x"\ntitle = ""\n', 2, "one line of 1 to"),
    ('model = "X Y"\ntitle = "T"\n', 1, "only a-z, 0-9 and _"),
    ('model = "x"\ntitle = "T"\nchannels = [\n "mqtt",\n 7,\n]\n', 3, "must be text in quotes"),
    (TWO_FLOWS, 6, '"purpose" is missing'),
    ('model = "x"\ntitle = "T"\n[broker]\nhost = "mqtt://x"\n', 4, "bare host name"),
    ('model = "x"\ntitle = "T"\n[queue]\nsize = "1 TB"\n', 4, "1 MiB"),
    ('title = "T"\n', 1, '"model" is missing'),
]
FIELD = """model = "x"
title = "T"
[[field]]
name = "a"
title = "A"
unit = "Cel"
purpose = "p"
precision = "1"
low = "0"
high = "10"
bucket = "1m"
[[field]]
name = "b"
title = "B"
unit = "Cel"
purpose = "p"
precision = "1"
low = "0"
high = "10"
bucket = "1m"
"""
FIELD_FAULTS = [
    ('unit = "Cel"', 'unit = "°C"', 15, "use Cel"),
    ('unit = "Cel"', 'unit = "furlong"', 15, "RFC 8428"),
    ('precision = "1"', "precision = 0.5", 17, "text in quotes"),
    ('precision = "1"', 'precision = "0"', 17, "more than zero"),
    ('precision = "1"', 'precision = "1e3"', 17, "plain decimal number"),
    ('high = "10"', 'high = "0"', 19, "above low"),
    ('bucket = "1m"', 'bucket = "40d"', 20, "at most 31 days"),
    ('bucket = "1m"', "", 12, '"bucket" is missing'),
]


@pytest.mark.parametrize(("text", "line", "said"), FAULTS)
def test_a_fault_names_file_line_and_fix(text, line, said):
    """Each kind of slip is found at its line, with what to write instead."""
    profile, faults = parse(Source("x.toml", text))
    assert profile is None
    assert [(fault.file, fault.line) for fault in faults] == [("x.toml", line)]
    assert said in faults[0].text


@pytest.mark.parametrize(("old", "new", "line", "said"), FIELD_FAULTS)
def test_a_fault_in_the_second_of_two_tables_is_found_there(old, new, line, said):
    """Lines are right inside arrays of tables too."""
    head, tail = FIELD.rsplit(old, 1)
    profile, faults = parse(Source("x.toml", head + new + tail))
    assert profile is None
    assert [fault.line for fault in faults] == [line]
    assert said in faults[0].text


def test_all_faults_are_told_at_once():
    """Nobody has to run the check once per slip."""
    _, faults = parse(Source("x.toml", 'model = "x"\ntitle = 5\nfoo = 1\n[queue]\nsize = 3\n'))
    assert [fault.line for fault in faults] == [2, 3, 5]


def test_the_line_is_right_after_values_that_span_lines():
    """Text in triple quotes and long lists do not move the line."""
    text = 'model = "x"\ntitle = """\nT"""\nchannels = [\n  "a",\n  "b",\n]\nfoo = 1\n'
    _, faults = parse(Source("x.toml", text))
    assert (faults[-1].line, faults[-1].text[:5]) == (8, '"foo"')


@given(st.text())
@example("[" * 5000)
@example("a = " + "9" * 5000)
@example("a=" * 3 + "\x00")
@example("a = 1979-13-45")
@example('"\ud7ff" = {')
@example("model.x = 1\nsettings = 3\nfield = {}\nwithout = []")
def test_arbitrary_text_is_answered_with_faults(text):
    """No text makes the parser raise anything."""
    profile, faults = parse(Source("x.toml", text))
    assert (profile is None) == bool(faults)
    assert all(fault.line >= 1 and "\n" not in fault.text for fault in faults)


KEYS = st.sampled_from(
    [
        "model",
        "title",
        "settings",
        "flows",
        "purpose",
        "field",
        "recipient",
        "channels",
        "broker",
        "queue",
        "without",
        "a",
    ]
)
VALUES = st.sampled_from(
    ['"a"', "1", "true", "[]", "{}", '["x"]', "[{}]", "1.5", "2031-01-01", '{a = {b = ["c"]}}', "[[1]]"]
)


@given(st.lists(st.tuples(st.sampled_from(["", "[{}]\n", "[[{}]]\n"]), KEYS, KEYS, VALUES), max_size=8))
def test_readable_toml_of_any_shape_is_answered_with_faults(parts):
    """The same for text that is TOML and uses our own keys in wrong places."""
    text = "".join(header.format(table) + f"{key} = {value}\n" for header, table, key, value in parts)
    _, faults = parse(Source("x.toml", text))
    lines = text.count("\n") + 1
    assert faults
    assert all(1 <= fault.line <= lines for fault in faults)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_in_a_file_are_answered_with_one_error(tmp_path_factory, content):
    """Bytes that are no text at all end in an error of ours."""
    path = tmp_path_factory.getbasetemp() / "bytes.toml"
    path.write_bytes(content)
    said = ""
    try:
        parse(read_text(path))
    except PrivetError as error:
        said = str(error)
    assert said.startswith("bytes.toml:") or not said


def test_a_file_that_is_too_large_is_refused(tmp_path):
    """A profile is a page of text; the limit holds before anything is parsed."""
    (tmp_path / "x.toml").write_bytes(b"#" * 65537)
    with pytest.raises(BadInput, match="at most 64 KiB"):
        read_text(tmp_path / "x.toml")


def test_a_file_that_is_not_there_is_missing(tmp_path, catalogue):
    """The wrong name has an exit code of its own."""
    with pytest.raises(Missing, match=r"no device profile x\.toml"):
        load(tmp_path / "x.toml", catalogue)


REFERENCES = [
    ('[settings]\n"ssh.pasword" = "no"\n', 'did you mean "ssh.password"?'),
    ('[settings]\n"ssh.password" = "maybe"\n', 'choose from: "no", "yes"'),
    ('[settings]\n"ssh.password" = "*"\n', "cannot be"),
    ('[settings]\n"ssh.password" = "yes"\n', "add a reason"),
    ('[settings]\n"firewall.inbound" = ["x"]\n', "written as [flows]"),
    ('[[credential]]\nkind = "tattoo"\n', "no kind of credential"),
    ('[ceilings]\n"a.b" = "x"\n', "is no setting"),
]


@pytest.mark.parametrize(("text", "said"), REFERENCES)
def test_names_must_be_known(shelf, catalogue, text, said):
    """Unknown settings, values and parts are named with their line."""
    path = shelf.put("x", text)
    _, faults = examine(path, catalogue)
    assert [fault.line for fault in faults] == [9]
    assert said in faults[0].text


def test_the_model_must_be_the_name_of_the_file(shelf, catalogue):
    """The file name is the registration."""
    path = shelf.put("x").rename(shelf.folder / "y.toml")
    _, faults = examine(path, catalogue)
    assert "must be the name of the file" in faults[0].text
    assert faults[0].line == 2


GOOD_FLOWS = ["tcp/22@lan", "udp/8000-8010@any", "icmp/echo@lan", "any/any@10.0.0.0/8", "tcp/any@fe80::/10"]
BAD_FLOWS = ["tcp/22", "tcp/0@any", "tcp/9-8@any", "tcp/70000@any", "sctp/1@any", "icmp/8@any", "any/1@any"]
BAD_PEERS = ["tcp/1@10.0.0.1/8", "tcp/1@fe80:0::/10", "tcp/1@home"]


@pytest.mark.parametrize("flow", [*GOOD_FLOWS, *BAD_FLOWS, *BAD_PEERS])
def test_flows_have_one_form(flow):
    """What the device's firewall would refuse is refused here, with its line."""
    text = f'model = "x"\ntitle = "T"\n[flows]\ninbound = [{{ flow = "{flow}", purpose = "P." }}]\n'
    _, faults = parse(Source("x.toml", text))
    assert [fault.line for fault in faults] == ([] if flow in GOOD_FLOWS else [4])
