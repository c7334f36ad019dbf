"""Our rule for device nodes, obeyed by the real udev on a real node in a /dev of its own."""

import subprocess
from pathlib import Path

import pytest

from agent.core.plan import Write
from agent.core.record import Params
from agent.providers.linux import device_access, udev_property
from agent.system.simulated import SimulatedSystem

# No camera is needed: the rule is made for /dev/full, which every machine has; the node is one of our own.
PARAMS: Params = {"name": "full", "subsystem": "mem", "nodes": "/dev/full", "group": "root"}
INSIDE = """
mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 640 /dev/full c 1 7 || exit 1
mkdir -p /run/udev && mount -t tmpfs none /run/udev && mount --bind "$1" /etc/udev/rules.d || exit 1
udevadm test --action=change /sys/class/mem/full 2>/dev/null | grep UDISKS
exec stat -c %a:%u:%g /dev/full
"""


def settled(folder: Path, rules: dict[str, bytes]) -> str:
    """Let udev judge the node by these rules and Debian's; return its rights."""
    for name, content in rules.items():
        (folder / name).write_bytes(content)
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE, "sh", str(folder)]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def ours(option: str) -> dict[str, bytes]:
    """Return our rule as a file."""
    made = [step for step in device_access.steps({**PARAMS, "live": "no"}, option) if isinstance(step, Write)]
    return {step.path.rpartition("/")[2]: step.content for step in made}


@pytest.mark.parametrize(("option", "mode"), [("closed", "0"), ("group", "666"), ("everyone", "666")])
def test_udev_obeys_our_rule(option: str, mode: str, tmp_path: Path) -> None:
    """Closed is closed, whatever comes later and whoever gave it before; without our rule Debian's own holds (666)."""
    late = {"99-theirs.rules": b'SUBSYSTEM=="mem", KERNEL=="full", GROUP="video", MODE="0666"\n'}
    found = settled(tmp_path, {**ours(option), **late})
    assert found.split(":")[0] == mode
    if option == "closed":
        assert found == "0:0:0"


def test_a_rule_before_ours_can_have_the_last_word(tmp_path: Path) -> None:
    """What the probe calls everyone in spite of our rule is so for udev too."""
    early = {"10-theirs.rules": b'SUBSYSTEM=="mem", KERNEL=="full", MODE:="0666"\n'}
    assert settled(tmp_path, {**ours("closed"), **early}).split(":")[0] == "666"


@pytest.mark.parametrize(
    ("name", "rule", "value"),
    [
        ("10-x", 'SUBSYSTEM == "mem" , \\\n  KERNEL == "full", MODE := "0666"\n', "everyone"),
        ("10-x", 'SUBSYSTEM=="input|m*", MODE:="0666"\n', "everyone"),
        ("10-x", 'ACTION!="remove", MODE:="0666"\n', "everyone"),
        ("10-x", 'KERNEL=="full", GROUP:="users", MODE:="0660"\n', "group"),
        ("10-x", '   # SUBSYSTEM=="mem", MODE:="0666"\n', "closed"),
        ("10-x", 'KERNEL!="full", MODE:="0666"\n', "closed"),
        ("10-x", 'KERNEL=="fulls", MODE:="0666"\n', "closed"),
        ("99-x", 'SUBSYSTEM=="mem", MODE="0666"\n', "closed"),
    ],
)
def test_what_we_read_of_a_rule_udev_does(name: str, rule: str, value: str, tmp_path: Path) -> None:
    """In odd spellings too, what we say would become of a node is what becomes of it."""
    rules = {**ours("closed"), f"{name}.rules": rule.encode()}
    mode = int(settled(tmp_path, rules).split(":")[0], 8)
    assert ("everyone" if mode & 0o6 else "group" if mode & 0o60 else "closed") == value
    device = SimulatedSystem()
    device.hand.discard("/usr/lib/udev")
    for file, content in rules.items():
        device.edit(f"/etc/udev/rules.d/{file}", content)
    assert device_access.kept_value(device, PARAMS) == value


def test_udev_gives_our_property(tmp_path: Path) -> None:
    """The property stands in what udev tells programs; a rule after ours takes it away, one before does not."""
    params: Params = {
        "name": "x",
        "match": 'SUBSYSTEM=="mem"',
        "says": "UDISKS_AUTO=0",
        "needs": "/x",
        "words": "off on",
    }
    made = udev_property.steps({**params, "live": "no"}, "off")[0]
    assert isinstance(made, Write)
    rules = {made.path.rpartition("/")[2]: made.content, "50-x.rules": b'SUBSYSTEM=="mem", ENV{UDISKS_AUTO}="1"\n'}
    assert settled(tmp_path, rules).startswith("UDISKS_AUTO=0\n")
    rules["99-z.rules"] = rules["50-x.rules"]
    assert settled(tmp_path, rules).startswith("UDISKS_AUTO=1\n")
