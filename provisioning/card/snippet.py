"""For who writes a stock image with another tool: files to copy onto the boot partition. None of them holds a secret.

The seed is not among them: a slot that another tool copied is not in one piece at a known place, and what that tool
reads it also leaves on the card. Such a device makes its own key, and is enrolled by its certificate request.
"""

import base64
import json
import shlex

import cbor2

from agent.core.errors import BadInput
from provisioning.card.contents import FLEET, POLICY, Issue
from provisioning.card.installed import HOME
from provisioning.fleet.identity import checked

CLOUD_INIT, CUSTOM = "cloud-init", "custom.toml"
FORMS = (CLOUD_INIT, CUSTOM)
SCRIPT, PACKAGE = "privet-install.sh", "privet.deb"
BOOT = "/boot/firmware"
INSTALL = """\
#!/bin/sh
# Puts Privet onto this device and lets it follow the fleet {fleet}. Holds no secret. Run by root, once.
set -eu
install -d -m 0700 /etc/privet
{files}
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {boot}/{package}
{courier}
chown privet: {home}/ca.pem
rm -f {boot}/{package} {boot}/{script}
"""
LAID = "base64 -d >{path} <<'END'\n{content}\nEND\nchmod 0600 {path}"
TOML = """\
# Read once by Raspberry Pi OS 12 (bookworm) at its first start. Sets no password: whoever owns the device does that.
config_version = 1

[system]
hostname = {host}

[ssh]
enabled = false
"""


def snippets(form: str, issue: Issue, host: str, moment: int) -> dict[str, bytes]:
    """Return the files for one form: their names on the boot partition and what they hold."""
    if form not in FORMS:
        raise BadInput(f"{form!r} is no form of a first start; use {' or '.join(FORMS)}")
    checked(host, "host")
    script = {SCRIPT: installer(issue, moment).encode()}
    if form == CUSTOM:
        return {"custom.toml": TOML.format(host=json.dumps(host)).encode(), **script}
    table = {
        "hostname": host,
        "ssh_pwauth": False,
        "disable_root": True,
        "users": [],
        "runcmd": [["sh", f"{BOOT}/{SCRIPT}"]],
    }
    identity = f"instance-id: privet-{issue.fleet}-{issue.sequence}\n"
    # JSON is YAML, and nothing of it can be read two ways.
    return {
        "user-data": b"#cloud-config\n" + json.dumps(table, indent=1).encode() + b"\n",
        "meta-data": identity.encode(),
        **script,
    }


def installer(issue: Issue, moment: int) -> str:
    """Return the script that lays down whose device it is and installs the package."""
    facts = {"fleet": issue.fleet, "class": issue.model, "policy_keys": list(issue.keys), "floor": moment}
    files = {FLEET: cbor2.dumps(facts, canonical=True), POLICY: issue.policy}
    return INSTALL.format(
        fleet=issue.fleet, boot=BOOT, package=PACKAGE, script=SCRIPT, home=HOME,
        files="\n".join(laid(path, content) for path, content in files.items()),
        courier=laid(f"{HOME}/ca.pem", issue.anchor),
    )  # fmt: skip


def laid(path: str, content: bytes) -> str:
    """Return the lines of a script that write a file."""
    return LAID.format(path=shlex.quote(path), content=base64.encodebytes(content).decode().rstrip())
