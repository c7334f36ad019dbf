"""Snippets for other imaging tools: the script runs, both forms are read as what they are, no secret in it."""

import json
import subprocess
import tomllib

import cbor2
import pytest

from agent.core.errors import BadInput
from provisioning.card.snippet import installer, snippets


def test_both_forms_are_read_as_what_they_are(bench):
    """The user data is YAML by being JSON, the other form is TOML; both close SSH and set no password."""
    cloud = snippets("cloud-init", bench.issue, "porch", 1_790_000_000)
    assert sorted(cloud) == ["meta-data", "privet-install.sh", "user-data"]
    first, _, rest = cloud["user-data"].partition(b"\n")
    table = json.loads(rest)
    assert first == b"#cloud-config" and table["ssh_pwauth"] is False and table["hostname"] == "porch"
    assert table["runcmd"] == [["sh", "/boot/firmware/privet-install.sh"]]
    custom = tomllib.loads(snippets("custom.toml", bench.issue, "porch", 1)["custom.toml"].decode())
    assert custom == {"config_version": 1, "system": {"hostname": "porch"}, "ssh": {"enabled": False}}


def test_the_script_lays_down_what_an_image_would_hold(bench, tmp_path):
    """A real shell runs it with other places: the files come out as in an image, and the package is asked for."""
    script = installer(bench.issue, 1_790_000_000)
    for place in ("/etc/privet", "/var/lib/privet-courier", "/boot/firmware"):
        (tmp_path / place[1:]).mkdir(parents=True)
        script = script.replace(place, str(tmp_path / place[1:]))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apt-get", "chown"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/asked\n')
        (programs / name).chmod(0o755)
    (tmp_path / "s.sh").write_text(script)
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(["sh", tmp_path / "s.sh"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fleet = cbor2.loads((tmp_path / "etc/privet/fleet.cbor").read_bytes())
    assert (fleet["fleet"], fleet["class"], fleet["floor"]) == ("meadow", "base", 1_790_000_000)
    assert (tmp_path / "etc/privet/policy.cbor").read_bytes() == bench.issue.policy
    assert (tmp_path / "var/lib/privet-courier/ca.pem").read_bytes() == bench.issue.anchor
    assert (tmp_path / "etc/privet/policy.cbor").stat().st_mode & 0o777 == 0o600
    asked = (tmp_path / "asked").read_text()
    assert "apt-get install" in asked and "privet.deb" in asked and "chown privet:" in asked


def test_no_snippet_holds_a_secret_or_a_strange_name(bench):
    """No private key, token or password is in any of them; a host name that could be more than a name is refused."""
    for form in ("cloud-init", "custom.toml"):
        for content in snippets(form, bench.issue, "porch", 1).values():
            assert b"PRIVATE KEY" not in content and b"token" not in content and b"passwd" not in content
    for name in ("a b", "$(reboot)", "", "-x", 'a"b'):
        with pytest.raises(BadInput):
            snippets("cloud-init", bench.issue, name, 1)
