"""`privet-fleet profile explain` and `diff` of every profile that ships, as its owner and its maker read them."""

import json

import pytest
from click.testing import CliRunner

from provisioning.cli.main import cli
from tests.house import ROOT

WHERE = ("--profiles", str(ROOT / "device_profiles"))
NAMES = sorted(path.stem for path in (ROOT / "device_profiles").glob("*.toml"))


def ask(*words: str) -> str:
    """Run the command; return its output with every run of spaces as one."""
    result = CliRunner().invoke(cli, ("profile", *words, *WHERE))
    assert (result.exit_code, result.stderr) == (0, "")
    return " ".join(result.stdout.split())


@pytest.mark.parametrize("name", NAMES)
def test_an_owner_reads_first_what_is_looser_and_why(name: str) -> None:
    """Each looser setting stands before all strict ones, with its reason and its risk; each connection in words."""
    facts = json.loads(ask("explain", name, "--json"))
    text = ask("explain", name)
    before, _, after = text.partition("As private as can be")
    assert after
    for row in facts["settings"]:
        if not row["strictest"]:
            assert row["title"] in before and " ".join(row["reason"].split()) in before and row["risks"], row
            assert all(risk in before for risk in row["risks"])
        else:
            assert f"{row['title']}: {row['said']}" in after
    for flow in facts["flows"]:
        assert f"{flow['peer']}: {flow['purpose']}" in after
    assert ("Whom it may reach: nobody" in after) == (not any(one["side"] == "outbound" for one in facts["flows"]))
    assert ("no firewall of its own" in after) == (facts["platform"] == "pico")
    assert "_" not in ", ".join(facts["secrets"] + facts["warned"])  # a name of ours is no word of an owner


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_differs_from_itself_in_nothing(name: str) -> None:
    """And from base in what its own file says; the count is that of the lines."""
    assert ask("diff", name, name) == "No differences."
    found = json.loads(ask("diff", "base", name, "--json"))["differences"]
    assert bool(found) == (name != "base")
    looser = [one for one in found if one["direction"] == "looser"]
    if found:
        assert f"{len(looser)} looser, {len(found) - len(looser)} other" in ask("diff", "base", name)
