"""Files of kernel values by the hundred: what the real systemd-sysctl sets from them, we read from the same files.

Every interface of the device is a case of its own; the values are set in the device's own network namespace only.
"""

import json

from tests.device.differing import Draw, lay
from tests.device.lab import Device

PLACES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
NAMES = ("a.conf", "b.conf", "m.conf", "z.conf", "zz.conf", "10-x.conf", ".hidden.conf", "z.conf~", "other", "A.conf")
CARDS = [f"v{number}" for number in range(18)] + ["w1.5", "w2.7"]
KEY = "rp_filter"
ROUNDS = 8
FORMS = (
    "{dotted} = {value}",
    "{slashed}={value}",
    "-{dotted}={value}",
    "- {dotted} = {value}",
    "\t{mixed}\t=\t{value}\t",
    "{dotted} = {value} # note",
    "#{dotted} = {value}",
    ";{slashed} = {value}",
    "  # {dotted} = {value}",
    "{dotted}",
    "-{dotted}",
    "-{slashed}",
    "- {dotted}",
    "{capital} = {value}",
    "{dotted} = \\\n{value}",
    "{dotted} \\\n= {value}",
    "# note \\\n{dotted} = {value}",
    "{dotted} = {value}\r",
    "{dotted} = {value}\r\n{slashed} = {other}",
    "{dotted} == {value}",
    "{dotted} =",
    "{dotted} = 0{value}",
    "{dotted} = {value} {other}",
    "{doubled} = {value}",
    "/{slashed} = {value}",
    "/proc/sys/{slashed} = {value}",
    "{updown} = {value}",
    "{glob} = {value}",
    "{glob} = {value}",
    "{glob}={other}",
    "-{glob} = {value}",
    "-{glob}",
    "{dotted} = {value}\f{slashed} = {other}",
    "\ufeff{dotted} = {value}",
    "{dotted} = {value}\n{glob} = {other}",
    "{glob} = {value}\n{dotted} = {other}",
)
GLOBS = (
    "net.ipv4.conf.*.rp_filter",
    "net/ipv4/conf/*/rp_filter",
    "net.ipv4.conf.{head}*.rp_filter",
    "net/ipv4/conf/{head}?/rp_filter",
    "net.ipv4.conf.{head}[0-4].rp_filter",
    "net.ipv4.conf.{head}[!0-4].rp_filter",
    "net.ipv4.*.{name}.rp_filter",
    "net.*.{name}.rp_filter",
    "net.ipv4.conf.{name}.rp_f*",
    "net.ipv4.conf.{name}.rp_filte?",
    "net.ipv4.conf.\\{name}.rp_filter",
    "net.ipv4.conf.{{{name},x}}.rp_filter",
)
APPLY = """
import json, subprocess, sys
from agent.system import sysctl_files as sysctl
from agent.system.real import RealSystem
told = {}
found = sysctl.lines(RealSystem())
cards = json.loads(sys.argv[1])
for card in cards:
    told[card] = sysctl.after_start(found, f"net/ipv4/conf/{card}/rp_filter")
subprocess.run(("/usr/lib/systemd/systemd-sysctl",), capture_output=True)
real = {card: open(f"/proc/sys/net/ipv4/conf/{card}/rp_filter").read().strip() for card in cards}
print(json.dumps([told, real]))
"""


def line(draw: Draw) -> str:
    """Draw one line, or two that belong together."""
    name, value = draw.one(CARDS), draw.one("12")
    dashed = name.replace(".", "/")
    glob = draw.one(GLOBS).format(head=name[0], name=name if "/" in name else dashed)
    return draw.one(FORMS).format(
        value=value,
        other="1" if value == "2" else "2",
        dotted=f"net.ipv4.conf.{dashed}.{KEY}",
        slashed=f"net/ipv4/conf/{name}/{KEY}",
        mixed=f"net.ipv4/conf.{dashed}/{KEY}" if draw.maybe(3) else f"net/ipv4/conf/{name}/{KEY}",
        capital=f"net.ipv4.conf.{dashed}.{KEY.upper()}",
        doubled=f"net..ipv4.conf.{dashed}.{KEY}",
        updown=f"net/ipv4/../ipv4/conf/{name}/{KEY}",
        glob=glob,
    )


def files(draw: Draw) -> dict[str, str]:
    """Draw the files of one device."""
    made: dict[str, str] = {}
    for _ in range(4 + draw.below(6)):
        path = f"{draw.one(PLACES)}/{draw.one(NAMES)}"
        text = "\n".join(line(draw) for _ in range(draw.below(6))) + draw.one(("\n", ""))
        made.setdefault(path, draw.one((text,) * 8 + (">/dev/null", ">/nowhere", "")))
    return made


def naive(made: dict[str, str], card: str) -> str:
    """Say what one would say who reads the files of /etc by name and takes the last line of this key."""
    key, said = f"net.ipv4.conf.{card.replace('.', '/')}.{KEY}", "0"
    for path in sorted(made):
        for row in made[path].splitlines() if path.startswith("/etc/") else ():
            said = row.partition("=")[2].strip() if row.partition("=")[0].strip() == key else said
    return said


def written(made: dict[str, str]) -> str:
    """Return the files of one device as lines, in the order of their names."""
    return "\n".join(f"{path}: {text!r}" for path, text in sorted(made.items(), key=lambda one: one[0].split("/")[-1]))


def test_what_is_set_is_what_we_read(device: Device) -> None:
    """Of every interface the value after the start is the one that we say; where we say another, it is no value."""
    draw, fooled, set_at_all = Draw("sysctl"), 0, 0
    cards = "\n".join(f"ip link add {card} type veth peer name x{card}" for card in CARDS)
    device.must(["sh", "-ec", f"mkdir -p /run/systemd/system\n{cards}"])
    back = "\n".join(f"echo 0 >/proc/sys/net/ipv4/conf/{card}/{KEY}" for card in CARDS)
    for _ in range(ROUNDS):
        device.must(["sh", "-ec", f"rm -rf {' '.join(PLACES)}\n{back}"])
        made = files(draw)
        lay(device, made)
        told, real = device.ask(APPLY, json.dumps(CARDS))
        for card in CARDS:
            right = (told[card] or "0") == real[card] or told[card] not in {"1", "2", None}
            assert right, f"{card}: it is {real[card]}, we say {told[card]}\n{written(made)}"
            fooled += naive(made, card) != real[card]
            set_at_all += real[card] != "0"
    assert set_at_all > ROUNDS
    assert fooled > ROUNDS, "the naive reader was hardly ever wrong"
