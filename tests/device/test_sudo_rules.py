"""Rules of sudo by the hundred: whatever the real sudo runs unasked, our look at the same files names."""

import json

from tests.device.lab import Device

USERS = ("pi", "%sudo", "ALL", "#1000", "PEOPLE", "%#27", "!root, ALL", "ALL, !pi", "+net")
AS = ("", "(ALL)", "(ALL:ALL)", "(root)", "(ALL, !pi)", "(www-data)")
TAGS = ("PASSWD:", "", "NOTAFTER=20200101000000Z PASSWD:", "NOTBEFORE=20990101000000Z PASSWD:", "TIMEOUT=5 PASSWD:")
COMMANDS = (
    "ALL",
    "/usr/bin/true",
    "/usr/bin/*",
    "/usr/bin/",
    "ALL, !/usr/bin/id",
    "CMDS",
    "/usr/bin/id, /usr/bin/true",
)
DEFAULTS = (
    "",
    "Defaults !authenticate",
    "Defaults:pi authenticate",
    "Defaults exempt_group=sudo",
    "Defaults>root authenticate",
)
HEAD = "User_Alias PEOPLE = pi, root\nCmnd_Alias CMDS = /usr/bin/true, /usr/bin/id\n"
STRIDE, MOST = 1_299_709, 250  # a prime: neighbours differ in every part
TRY = """
import json, subprocess, sys
from agent import registry
from agent.system.real import RealSystem
setting = registry.settings()["sudo.nopasswd"]
told = []
for text in json.loads(sys.argv[1]):
    with open("/etc/sudoers.d/010_pi-nopasswd", "w") as file:
        file.write(text)
    argv = ("runuser", "-u", "pi", "--", "sudo", "-k", "-n", "/usr/bin/true")
    runs = subprocess.run(argv, capture_output=True).returncode == 0
    reading = registry.provider(setting.provider).probe(RealSystem(), setting.params)
    told.append([runs, reading.live, reading.cause])
print(json.dumps(told))
"""


def cases() -> list[str]:
    """Return files of two rules, the first of which asks for no password, and a line that says what is usual."""
    parts = (USERS[:7], AS[:5], COMMANDS, USERS, AS, TAGS, COMMANDS, DEFAULTS)
    made = []
    for place in range(MOST):
        number, words = place * STRIDE, []
        for part in parts:
            number, digit = divmod(number, len(part))
            words.append(part[digit])
        who, runas, what, then, like, tag, more, usual = words
        rules = f"{who} ALL = {runas} NOPASSWD: {what}\n{then} ALL = {like} {tag} {more}\n"
        made.append(f"{HEAD}{rules}{usual}\n")
    return made


def test_what_sudo_runs_unasked_is_named(device: Device) -> None:
    """None that the real sudo runs without a password passes for private; and many of them it does run."""
    made = cases()
    told = device.ask(TRY, json.dumps(made))
    missed = [text for text, (runs, live, _) in zip(made, told, strict=True) if runs and live == []]
    assert not missed, "\n".join(missed[:3])
    assert sum(runs for runs, _, _ in told) > 50
    assert sum(not runs for runs, _, _ in told) > 20


LOOK = """
import json, subprocess
from agent import registry
from agent.core.assess import assess
from agent.core.clock import Clock
from agent.core.order import ANY
from agent.system.real import RealSystem
setting, system = registry.settings()["sudo.nopasswd"], RealSystem()
argv = ("runuser", "-u", "pi", "--", "sudo", "-k", "-S", "/usr/bin/true")
runs = subprocess.run(argv, input=b"", capture_output=True).returncode == 0
reading = registry.provider(setting.provider).probe(system, setting.params)
finding = assess(setting, setting.strictest(), reading, (), system.clock())
print(json.dumps([runs, finding.status, finding.cause]))
"""
POLICY = "Plugin sudoers_policy"
FREE = "pi ALL=(ALL) NOPASSWD: ALL\n"
# sudo.conf, further files (mode 0440), whether sudo then runs anything unasked, our verdict, what its reason names
CONFS: tuple[tuple[str, dict[str, str], bool, str, str], ...] = (
    ("", {}, False, "ok", ""),
    (f"{POLICY} sudoers.so\nPlugin sudoers_io sudoers.so\n", {}, False, "ok", ""),
    (f"#{POLICY} sudoers.so sudoers_file=/opt/rules\n", {"/opt/rules": FREE}, False, "ok", ""),
    (f"{POLICY} sudoers.so sudoers_file=/opt/rules\n", {"/opt/rules": FREE}, True, "loosened", "/opt/rules"),
    (
        "pLUGIN sudoers_policy sudoers.so \\\n sudoers_file=/opt/rules\n",
        {"/opt/rules": FREE},
        True,
        "loosened",
        "/opt",
    ),
    (
        f"{POLICY} sudoers.so sudoers_file=/opt/a sudoers_file=/opt/rules\n",
        {"/opt/rules": FREE},
        True,
        "loosened",
        "/opt",
    ),
    (
        f"{POLICY} sudoers.so sudoers_file=/opt/shut\n",
        {"/opt/shut": "pi ALL=(ALL) ALL\n"},
        False,
        "unknown",
        "/opt/shut",
    ),
    (
        f"Path plugin_dir /opt/\n{POLICY} sudoers.so sudoers_file=/opt/rules\n",
        {"/opt/rules": FREE},
        True,
        "loosened",
        "/opt",
    ),
    (f"{POLICY} sudoers.so sudoers_uid=1000\n", {"/etc/sudoers.d/free": FREE}, True, "unknown", "sudoers_uid=1000"),
    (f"{POLICY} sudoers.so sudoers_mode=0666\n", {}, False, "unknown", "sudoers_mode=0666"),
    ("", {"/etc/sudoers.d/free": "Defaults pam_service=open\n"}, True, "unknown", "pam_service"),
)


def test_where_sudo_takes_its_rules_from_is_looked_at(quick: Device) -> None:
    """Whatever sudo.conf makes the real sudo run unasked never passes for private, with the place named; stock does."""
    device = quick
    stock = device.read("/etc/sudo.conf")
    device.must(["cp", "/usr/libexec/sudo/sudoers.so", "/opt/sudoers.so"])
    device.write("/etc/pam.d/open", "auth required pam_permit.so\naccount required pam_permit.so\n")
    for conf, files, runs, status, named in CONFS:
        device.must(["sh", "-c", "rm -f /opt/rules /opt/shut /etc/sudoers.d/free"])
        device.write("/etc/sudo.conf", stock + conf)
        for path, content in files.items():
            device.write(path, content, 0o440)
        if "sudoers_uid" in conf:
            device.must(["chown", "-R", "1000", "/etc/sudoers", "/etc/sudoers.d"])
        told = device.ask(LOOK)
        device.must(["chown", "-R", "0", "/etc/sudoers", "/etc/sudoers.d"])
        assert told[:2] == [runs, status], (conf, files, told)
        assert named in told[2], told
