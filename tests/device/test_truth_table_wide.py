"""The truth table widened: what opens to the factory password, in many spellings, places and contexts."""

import json

import pytest

from tests.device.lab import PASSWORD, Device
from tests.device.verdicts import ENFORCE, LATER, verdicts

MAIN = "/etc/ssh/sshd_config"
DROP = "/etc/ssh/sshd_config.d"
INCLUDE = f"Include {DROP}/*.conf\n"
NO = "PasswordAuthentication no\n"
BASE = "KbdInteractiveAuthentication no\nUsePAM yes\n"

# name, files, command line of the server, whether pi gets in with the factory password (measured again in each run)
PASSWORDS: tuple[tuple[str, dict[str, str], tuple[str, ...], bool], ...] = (
    ("as Debian ships it", {}, (), True),
    ("no in a drop-in", {f"{DROP}/a.conf": NO}, (), False),
    ("capitals", {f"{DROP}/a.conf": "PASSWORDAUTHENTICATION NO\n"}, (), False),
    ("equals sign", {f"{DROP}/a.conf": "PasswordAuthentication=no\n"}, (), False),
    ("quoted", {f"{DROP}/a.conf": '"PasswordAuthentication" "no"\n'}, (), False),
    ("a comment only", {f"{DROP}/a.conf": "#PasswordAuthentication no\n"}, (), True),
    ("a name that is not included", {f"{DROP}/a.conf.bak": NO}, (), True),
    ("first value wins", {f"{DROP}/a.conf": NO, f"{DROP}/b.conf": "PasswordAuthentication yes\n"}, (), False),
    ("first value loses", {f"{DROP}/a.conf": "PasswordAuthentication yes\n", f"{DROP}/b.conf": NO}, (), True),
    ("Match User", {f"{DROP}/a.conf": NO + "Match User pi\n PasswordAuthentication yes\n"}, (), True),
    ("Match User another", {f"{DROP}/a.conf": NO + "Match User ro*\n PasswordAuthentication no\n"}, (), False),
    ("Match quoted", {f"{DROP}/a.conf": NO + 'mAtCh User="pi"\n\tpasswordauthentication = yes\n'}, (), True),
    ("Match negated", {f"{DROP}/a.conf": NO + "Match User *,!root\n PasswordAuthentication yes\n"}, (), True),
    ("Match Group", {f"{DROP}/a.conf": NO + "Match Group sudo\n PasswordAuthentication yes\n"}, (), True),
    ("Match Address", {f"{DROP}/a.conf": NO + "Match Address 127.0.0.1/32\n PasswordAuthentication yes\n"}, (), True),
    ("Match wildcard", {f"{DROP}/a.conf": NO + "Match Address 127.*\n PasswordAuthentication yes\n"}, (), True),
    ("Match LocalPort", {f"{DROP}/a.conf": NO + "Match LocalPort 22\n PasswordAuthentication yes\n"}, (), True),
    (
        "two criteria",
        {f"{DROP}/a.conf": NO + "Match LocalAddress 127.0.0.0/8 User p?\n PasswordAuthentication yes\n"},
        (),
        True,
    ),
    (
        "an earlier Match wins",
        {
            f"{DROP}/a.conf": "Match User pi\n PasswordAuthentication no\n"
            "Match Group sudo\n PasswordAuthentication yes\nMatch all\n PasswordAuthentication no\n"
        },
        (),
        False,
    ),
    (
        "Match all shuts what the file leaves open",
        {MAIN: INCLUDE + BASE + "PasswordAuthentication yes\nMatch all\n PasswordAuthentication no\n"},
        (),
        False,
    ),
    (
        "Include inside Match",
        {"/etc/ssh/extra/x": "PasswordAuthentication yes\n", MAIN: BASE + NO + "Match User pi\n Include extra/*\n"},
        (),
        True,
    ),
    (
        "nested Include",
        {
            "/etc/ssh/one.conf": "Include /etc/ssh/two/*.conf\n",
            "/etc/ssh/two/x.conf": "PasswordAuthentication yes\n",
            MAIN: "Include one.conf\n" + BASE + NO,
        },
        (),
        True,
    ),
    ("command line opens", {f"{DROP}/a.conf": NO}, ("-oPasswordAuthentication=yes",), True),
    ("another file", {f"{DROP}/a.conf": NO, "/etc/other": BASE}, ("-f", "/etc/other"), True),
    (
        "a password by another name",
        {MAIN: "UsePAM yes\nKbdInteractiveAuthentication yes\n" + NO},
        (),
        True,
    ),
    (
        "its older name",
        {MAIN: "UsePAM yes\nChallengeResponseAuthentication yes\n" + NO},
        (),
        True,
    ),
)  # fmt: skip


def says_open(device: Device) -> tuple[bool, str]:
    """Return whether our verdict is that some password opens, and why; it must not be unknown."""
    found = verdicts(device, "ssh.password", "ssh.keyboard_interactive")
    assert {v.status for v in found.values()} <= {"ok", "loosened"}, found
    return any(v.status == "loosened" for v in found.values()), " | ".join(v.cause for v in found.values())


@pytest.mark.parametrize(("name", "files", "line", "truth"), PASSWORDS, ids=[row[0] for row in PASSWORDS])
def test_passwords(quick: Device, name: str, files: dict[str, str], line: tuple[str, ...], truth: bool) -> None:
    """Our cold verdict about passwords is what a real login with the factory password shows; then the steps shut it."""
    for path, content in files.items():
        quick.write(path, content)
    quick.sshd(*line, later=LATER)
    told, cause = says_open(quick)
    assert quick.login("pi", password=PASSWORD) == truth, "the state did not come about"
    assert told == truth, cause
    if truth and "-f" not in line:
        for setting in ("ssh.password", "ssh.keyboard_interactive"):
            live, kept, why, settled = quick.ask(ENFORCE, setting, json.dumps("no"))
            assert (live, kept, settled) == ("no", "no", True), why
        assert not quick.login("pi", password=PASSWORD)
