"""`privet-fleet profile export` and `import`: the flows of a profile as others read them, and back."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provisioning.cli.main import cli
from tests.house import ROOT

PROFILES = ("--profiles", str(ROOT / "device_profiles"))
URL = ("--url", "https://maker.example/base.json")


def ask(*words: str) -> Result:
    """Run the command."""
    result = CliRunner().invoke(cli, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_what_is_exported_is_imported_as_the_flows_of_a_profile(tmp_path: Path) -> None:
    """The text, the file and the JSON answer say one thing; what is read back is TOML that a profile takes."""
    path = tmp_path / "base.json"
    text = ask("profile", "export", "base", *URL, *PROFILES).stdout
    assert "2 flows in" in ask("profile", "export", "base", *URL, *PROFILES, "-o", str(path)).stdout
    told = json.loads(ask("profile", "export", "base", *URL, *PROFILES, "--json").stdout)
    acls = "ietf-access-control-list:acls"
    assert json.loads(text)[acls] == json.loads(path.read_text())[acls] == json.loads(told["text"])[acls]
    back = tomllib.loads(ask("profile", "import", str(path)).stdout)["flows"]
    base = tomllib.loads((ROOT / "device_profiles" / "base.toml").read_text())["flows"]
    for side in ("inbound", "outbound"):
        assert [row["flow"] for row in back[side]] == sorted(row["flow"] for row in base[side]) == told["flows"][side]
    again = json.loads(ask("profile", "import", str(path), "--json").stdout)
    assert again["flows"] == told["flows"]


def test_a_name_is_a_remark(tmp_path: Path) -> None:
    """The firewall knows addresses: a flow to a name is shown, and is no flow before somebody has chosen."""
    path = tmp_path / 'a"b\n.json'
    text = ask("profile", "export", "base", *URL, *PROFILES).stdout
    whole = json.loads(text)
    for one in whole["ietf-access-control-list:acls"]["acl"]:
        for row in one["aces"]["ace"]:
            for version in ("ipv4", "ipv6"):
                if version in row["matches"] and "tcp" in row["matches"] and "ietf-mud:mud" not in row["matches"]:
                    end = "dst" if one["name"].endswith("fr") else "src"
                    row["matches"][version][f"ietf-acldns:{end}-dnsname"] = "maker.example"
    path.write_text(json.dumps(whole))
    shown = ask("profile", "import", str(path)).stdout
    assert '# a name, where the firewall wants addresses: { flow = "tcp/443@maker.example"' in shown
    assert "maker.example" not in str(tomllib.loads(shown))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("export", "base"), 2),
        (("export", "base", "--url", "http://maker.example/x"), 2),
        (("export", "base", "--url", "https:///x"), 2),
        (("export", "base", "--url", "https://[/x"), 2),
        (("export", "nowhere", *URL), 66),
        (("export", "base", "--as", "nothing", *URL), 2),
        (("import", "nowhere.json"), 66),
        (("import", str(ROOT / "Makefile")), 65),
        (("import", "/dev/zero"), 65),
    ],
)
def test_a_slip_is_one_sentence(words: tuple[str, ...], code: int) -> None:
    """Each with its exit code, and nothing on standard output."""
    where = PROFILES if words[0] == "export" else ()
    result = ask("profile", *words, *where)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1 or code == 2


def test_help_shows_an_example() -> None:
    """As every verb's does."""
    for name in ("export", "import"):
        assert "Example:" in ask("profile", name, "--help").stdout
